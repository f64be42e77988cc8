"""Speed, measured against what people would use instead: ``python -m benchmarks``."""

import sys
from pathlib import Path

# The package as it stands beside this folder, whatever is installed.
sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
