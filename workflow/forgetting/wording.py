"""What a reader calls the networks and benchmarks of a study, whose entries are parts of paths."""

import re

NAMES = {
    "mlp": "MLP",
    "ant": "Ant",
    "slipperyant": "Slippery Ant",
    "actor": "Actor",
    "critic": "critic",
    "ln": "LN",
    "convnet": "ConvNet",
    "convgru": "ConvGRU",
    "biconvgru": "Bi-ConvGRU",
    "resnet18": "ResNet-18",
    "vgg": "VGG",
    "resnet": "ResNet",
    "densenet": "DenseNet",
    "mnist": "MNIST",
    "fashionmnist": "Fashion-MNIST",
    "mnistcnn": "Small CNN",
    "mnistfashion": "MNIST, then Fashion-MNIST",
    "fashiontomnist": "Fashion-MNIST, then MNIST",
    "mnistfashionownheads": "MNIST, then Fashion-MNIST, own heads",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "imagenet": "ImageNet",
    "celeba": "CelebA",
    "animalsanimals": "Animals, then animals",
    "animalsartifacts": "Animals, then artifacts",
    "artifactsanimals": "Artifacts, then animals",
    "artifactsartifacts": "Artifacts, then artifacts",
    "setupaanimals": "Set-up a, animals",
    "setupaobjects": "Set-up a, objects",
    "setupaanimalsother": "Set-up a, animals, with others",
    "setupaobjectsother": "Set-up a, objects, with others",
    "setupbanimals": "Set-up b, animals",
    "setupbobjects": "Set-up b, objects",
    "setupc": "Set-up c",
}


def name(entry: str) -> str:
    """An architecture's or benchmark's entry as a reader writes it: ``split-mnist`` Split MNIST."""
    entry, _, rung = entry.partition("~")
    if rung:
        return f"{name(entry)} {rung}"
    whole = NAMES.get(re.sub("[-_]", "", entry))
    if whole:
        return whole
    words = " ".join(NAMES.get(word, word) for word in re.split("[-_]", entry))
    return words[:1].upper() + words[1:]
