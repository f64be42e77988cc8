"""The look and the script of the scorecard's page.

The page is whole without the script. With it rows can be filtered, a row that is opened shows its
figure, and an address of something folded away unfolds it. Nothing is loaded from elsewhere.
"""

STYLE = """\
:root { color-scheme: light; --ink: #1b1f24; --soft: #57606a; --line: #d5dae0; --tint: #f6f8fa; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 1rem; color: var(--ink); background: #fff;
  font: 16px/1.45 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; margin: .2rem 0 .6rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .2rem; }
h3 { font-size: .95rem; margin: 1.1rem 0 .3rem; }
p { margin: .4rem 0; max-width: 60rem; }
a { color: #00568f; }
:focus-visible { outline: 3px solid #00568f; outline-offset: 2px; }
.soft, .source, .name { color: var(--soft); font-size: .86rem; }
.name, .mono { font-family: ui-monospace, monospace; font-size: .8rem; }
.source { display: block; }
.claim:not([open]) .source { display: -webkit-box; -webkit-box-orient: vertical; overflow: hidden;
  -webkit-line-clamp: 2; }
.number { font-variant-numeric: tabular-nums; }
.warning { border: 2px solid #8a5a00; border-left-width: .6rem; background: #fff6e0;
  padding: .4rem .9rem; margin: .8rem 0; }
dl { margin: .4rem 0; } dt { font-weight: 600; } dd { margin: 0 0 .3rem; }
.kinds { font-size: .86rem; }
.kinds dt, .kinds dd { display: inline; } .kinds dd::after { content: ""; display: block; }
.wide { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: .86rem; }
th, td { text-align: left; vertical-align: top; padding: .2rem .7rem .2rem 0;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
td.number, th.number { text-align: right; white-space: nowrap; }
.overview { font-size: 1rem; margin: .8rem 0; }
.overview td { padding: .35rem 1rem .35rem 0; }
.bar { display: flex; width: 12rem; height: .8rem; margin-top: .35rem; }
.bar span { border: 1px solid #fff; }
.bar .reproduced { background: #00568f; } .bar .contradicted { background: #c4511a; }
.bar .inconclusive { background: #b9bec5; }
.bar .not-run { background: #fff; border: 1px dotted #8b949e; }
.verdict { display: inline-block; white-space: nowrap; font-weight: 600; border-radius: .3rem;
  padding: .1rem .5rem; border: 1.5px solid currentColor; }
.verdict.reproduced { color: #00568f; background: #e8f3fb; }
.verdict.contradicted { color: #a13200; background: #fdeee4; }
.verdict.inconclusive { color: #4d4d4d; background: #f3f3f3; border-style: dashed; }
.verdict.not-run { color: #6e6e6e; background: #fff; border-style: dotted; }
.doubt { display: inline-block; font-size: .75rem; border: 1px solid #8a5a00; color: #6b4600;
  background: #fff6e0; border-radius: .3rem; padding: 0 .35rem; }
#filter { position: sticky; top: 0; z-index: 1; background: #fff; padding: .6rem 0;
  border-bottom: 2px solid var(--line); display: flex; flex-wrap: wrap; gap: .5rem .9rem;
  align-items: center; }
#filter[hidden] { display: none; }
#filter label { display: inline-flex; align-items: center; gap: .35rem; min-height: 2rem; }
#filter select, #filter [type=search] { font: inherit; padding: .25rem .4rem; max-width: 100%; }
#filter fieldset { border: 0; padding: 0; margin: 0; display: flex; flex-wrap: wrap; gap: .4rem; }
#filter output { color: var(--soft); font-size: .9rem; }
.glance { list-style: none; columns: 3 22rem; padding: 0; font-size: .86rem; }
.glance li { break-inside: avoid; padding: .1rem 0; }
.glance a { display: inline-block; min-width: 1.5rem; text-align: center; font-weight: 700;
  text-decoration: none; border-radius: .3rem; }
.glance .reproduced { color: #00568f; background: #e8f3fb; }
.glance .contradicted { color: #a13200; background: #fdeee4; }
.glance .inconclusive, .glance .not-run { color: #6e6e6e; }
.columns, .claim > summary { display: grid; gap: .3rem 1rem;
  grid-template-columns: minmax(14rem, 1fr) 13rem 12.5rem 10rem 9.4rem; }
.columns { color: var(--soft); font-size: .86rem; font-weight: 600; padding: .5rem 0 .2rem 1.3rem; }
.claim { border-top: 1px solid var(--line); scroll-margin-top: 7rem; }
.claim > summary { cursor: pointer; padding: .6rem 0 .6rem 1.3rem; list-style: none;
  position: relative; }
summary::-webkit-details-marker { color: var(--soft); }
.claim > summary::-webkit-details-marker { display: none; }
.claim > summary::before { content: "▸"; position: absolute; left: .2rem; top: .6rem;
  color: var(--soft); }
.claim[open] > summary::before { content: "▾"; }
.claim > summary:hover, .claim[open] > summary { background: var(--tint); }
.claim > summary b { display: none; }
.statement > span { display: block; }
.body { padding: .2rem 0 1.4rem 1.3rem; }
.study { scroll-margin-top: 5rem; }
.fold > summary { cursor: pointer; margin: .9rem 0 .3rem; }
svg { display: block; margin-top: .3rem; max-width: 100%; }
svg text { font-size: 10px; fill: var(--soft); }
figure { margin: 1rem 0; scroll-margin-top: 7rem; }
img { max-width: 100%; height: auto; }
.shown img { display: block; max-width: min(100%, 50rem); margin-top: .4rem; }
pre { background: var(--tint); padding: .5rem .7rem; overflow-x: auto; font-size: .82rem; }
pre.command { white-space: pre-wrap; overflow-wrap: anywhere; user-select: all; }
[hidden] { display: none !important; }
@media (max-width: 64rem) {
  #filter { position: static; }
  .columns { display: none; }
  .claim { scroll-margin-top: 0; border: 1px solid var(--line); border-radius: .4rem;
    margin: .7rem 0; }
  .claim > summary { grid-template-columns: 1fr; padding-right: .7rem; }
  .claim > summary b { display: block; font-size: .78rem; color: var(--soft); font-weight: 400; }
  .statement { font-weight: 600; } .statement .name, .doubt { font-weight: 400; }
  .body { padding: .2rem .7rem 1rem; }
  .bar { display: none; }
  .overview td, .overview th { padding-right: .9rem; }
}
@media (max-width: 36rem) {
  .word { position: absolute; left: -99rem; }
}
@media print { #filter { display: none; } }
"""

SCRIPT = """\
"use strict";
const claims = [...document.querySelectorAll(".claim")];
const form = document.getElementById("filter");
const text = new Map(claims.map(claim =>
  [claim, `${claim.id} ${claim.querySelector("summary").textContent}`.toLowerCase()]));

function filter() {
  const words = form.words.value.toLowerCase().split(/\\s+/).filter(Boolean);
  const verdicts = [...form.querySelectorAll("[name=verdict]:checked")].map(box => box.value);
  let shown = 0;
  for (const claim of claims) {
    const fits = (!form.study.value || claim.dataset.study === form.study.value)
      && (!form.evidence || !form.evidence.value || claim.dataset.evidence === form.evidence.value)
      && verdicts.includes(claim.dataset.verdict)
      && words.every(word => text.get(claim).includes(word));
    claim.hidden = !fits;
    shown += fits;
  }
  for (const study of document.querySelectorAll("section.study"))
    study.hidden = Boolean(form.study.value) && study.id !== form.study.value;
  const narrowed = words.length > 0 || (verdicts.length === 1 && verdicts[0] === "not run");
  for (const fold of document.querySelectorAll(".unrun")) {
    const some = [...fold.querySelectorAll(".claim")].some(claim => !claim.hidden);
    fold.hidden = !some;
    fold.open = some && narrowed;
  }
  form.querySelector("output").textContent = `${shown} of ${claims.length} claims`;
}

function show(event) {
  if (!event.target.open) return;
  for (const link of event.target.querySelectorAll("a[data-figure]:not(:has(img))")) {
    const figure = document.querySelector(`[id="${link.dataset.figure}"] img`);
    const copy = document.createElement("img");
    copy.src = figure.src;
    copy.alt = figure.alt;
    link.append(copy);
  }
}

function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let part = target; part; part = part.parentElement) {
    part.hidden = false;
    if (part.tagName === "DETAILS") part.open = true;
  }
  target.scrollIntoView();
}

claims.forEach(claim => claim.addEventListener("toggle", show));
form.hidden = false;
form.addEventListener("input", filter);
form.addEventListener("submit", event => event.preventDefault());
addEventListener("hashchange", unfold);
filter();
unfold();
"""
