"""The scorecard's page, a Jinja template: one file, no script, nothing loaded from elsewhere.

It stands in a Python module so that the code's fingerprint sees a change to it. Every value is
escaped by Jinja's autoescaping. On a narrow screen a table row becomes a card.
"""

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Scorecard ({{ preset }})</title>
<style>
:root { color-scheme: light; --ink: #1b1f24; --soft: #57606a; --line: #d5dae0; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1rem; color: var(--ink); background: #fff;
  font: 16px/1.45 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; margin: .2rem 0 .6rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .2rem; }
.soft, .source, .note { color: var(--soft); font-size: .88rem; }
.source, .note { margin: .3rem 0 0; }
.warning { border: 2px solid #8a5a00; border-left-width: .6rem; background: #fff6e0;
  padding: .6rem .9rem; margin: .8rem 0; }
.warning p { margin: .3rem 0; }
table { border-collapse: collapse; width: 100%; margin-top: .8rem; }
th, td { text-align: left; vertical-align: top; padding: .55rem .6rem;
  border-bottom: 1px solid var(--line); }
thead th { font-size: .85rem; color: var(--soft); border-bottom: 2px solid var(--line); }
td.statement { width: 38%; }
.ours { min-width: 12.5rem; }
.name { font-family: ui-monospace, monospace; font-size: .8rem; color: var(--soft); }
.number { font-variant-numeric: tabular-nums; }
svg { display: block; margin-top: .35rem; max-width: 100%; }
.verdict { display: inline-block; white-space: nowrap; font-weight: 600; border-radius: .3rem;
  padding: .1rem .5rem; border: 1.5px solid currentColor; }
.reproduced { color: #00568f; background: #e8f3fb; }
.contradicted { color: #a13200; background: #fdeee4; }
.inconclusive { color: #4d4d4d; background: #f3f3f3; border-style: dashed; }
.not-run { color: #6e6e6e; background: #fff; border-style: dotted; }
.counts { list-style: none; display: flex; flex-wrap: wrap; gap: .5rem; padding: 0;
  margin: .6rem 0; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; }
summary { cursor: pointer; margin-top: .8rem; }
@media (max-width: 46rem) {
  thead { position: absolute; left: -999rem; }
  table, tbody, tr, td { display: block; width: 100%; }
  tr { border: 1px solid var(--line); border-radius: .4rem; margin: .8rem 0; padding: .3rem 0; }
  td, td.statement { border: 0; width: 100%; padding: .3rem .7rem; }
  td.statement { font-weight: 600; } .note, .name { font-weight: 400; }
  td[data-label]::before { content: attr(data-label); display: block; font-size: .78rem;
    color: var(--soft); }
}
</style>
</head>
<body>
<header>
<h1>Scorecard: what holds, and on what evidence</h1>
<p class="soft">Preset <strong>{{ preset }}</strong>. Every claim is a test over seeds:
reproduced when our interval lies wholly on the claimed side of a stated margin, contradicted when
wholly on the other, else inconclusive. Intervals cover 95 %. Only evidence of the kind
<em>protocol</em> speaks of the paper.</p>
{% if warnings %}<div class="warning" role="note">
{% for warning in warnings %}<p>{{ warning }}</p>
{% endfor %}</div>
{% endif %}</header>
<main>
{% for study in studies %}<section id="{{ study.name }}">
<h2>{{ study.title }}</h2>
<p class="soft">{{ study.name }}{% if study.paper %}: {{ study.paper }}{% endif %}</p>
{% if not study.rows %}<p><span class="verdict not-run">{{ symbols["not run"] }} not run</span>
No claims of this study have been judged with this preset.</p>
{% else %}<ul class="counts">
{% for verdict, count in study.counts %}<li><span class="verdict {{ verdict|replace(' ', '-') }}">\
{{ symbols[verdict] }} {{ count }} {{ verdict }}</span></li>
{% endfor %}</ul>
<table>
<thead><tr><th scope="col">Claim</th><th scope="col">Paper</th><th scope="col">Ours</th>\
<th scope="col">Seeds</th><th scope="col">Evidence</th><th scope="col">Verdict</th></tr></thead>
<tbody>
{% for row in study.rows %}<tr data-verdict="{{ row.verdict }}" data-evidence="{{ row.evidence }}">
<td class="statement"><div>{{ row.statement }}</div><div class="name">{{ row.claim }}</div>
{% if row.note %}<p class="note">{{ row.note }}</p>{% endif %}</td>
<td data-label="Paper"><span class="number">{{ row.paper or "no number" }}</span>
<p class="source">{{ row.source }}</p></td>
<td data-label="Ours" class="ours"><span class="number">{{ row.ours }}</span>
{% if row.plot %}{% with p = row.plot %}<svg width="180" height="30" viewBox="0 0 180 30" \
role="img" aria-label="{{ p.label }}">
<line x1="4" y1="20" x2="176" y2="20" stroke="#d5dae0"/>
{% if p.zero is not none %}<line x1="{{ p.zero }}" y1="6" x2="{{ p.zero }}" y2="26" \
stroke="#8b949e" stroke-dasharray="2 2"/>{% endif %}
{% if p.low is not none %}<line x1="{{ p.low }}" y1="20" x2="{{ p.high }}" y2="20" \
stroke="#1b1f24" stroke-width="3"/>
<path d="M{{ p.low }} 13 v14 M{{ p.high }} 13 v14" stroke="#1b1f24" stroke-width="1.5"/>{% endif %}
<circle cx="{{ p.value }}" cy="20" r="4" fill="#1b1f24"/>
{% if p.paper is not none %}<path d="M{{ p.paper }} 3 l5 5 l-5 5 l-5 -5 z" fill="#fff" \
stroke="#a13200" stroke-width="2"/>{% endif %}
</svg>{% endwith %}{% endif %}</td>
<td data-label="Seeds" class="number">{{ row.seeds }}</td>
<td data-label="Evidence">{{ row.evidence or "none" }}</td>
<td data-label="Verdict"><span class="verdict {{ row.verdict|replace(' ', '-') }}">\
{{ symbols[row.verdict] }} {{ row.verdict }}</span></td>
</tr>
{% endfor %}</tbody>
</table>
{% endif %}{% if study.figures %}<details><summary>Figures ({{ study.figures|length }})</summary>
{% for figure in study.figures %}<figure><img alt="{{ figure.name }}" src="{{ figure.data }}">
<figcaption>{{ figure.name }}</figcaption></figure>
{% endfor %}</details>
{% endif %}</section>
{% endfor %}</main>
<footer><p class="soft">In the small drawings the dot and bar are ours with its interval, the
open diamond is the paper's value, the dashed line is zero.</p></footer>
</body>
</html>
"""

MARKDOWN = """\
# Scorecard: what holds, and on what evidence

Preset **{{ preset|md }}**. Every claim is a test over seeds: reproduced when our interval lies \
wholly on the claimed side of a stated margin, contradicted when wholly on the other, else \
inconclusive. Intervals cover 95 %. Only evidence of the kind *protocol* speaks of the paper.
{% for warning in warnings %}
> **{{ warning|md }}**
{% endfor %}{% for study in studies %}
## {{ study.title|md }}

{{ study.name|md }}{% if study.paper %}: {{ study.paper|md }}{% endif %}

{% if not study.rows %}{{ symbols["not run"] }} **not run**: no claims of this study have been \
judged with this preset.
{% else %}{% for verdict, count in study.counts %}{{ symbols[verdict] }} {{ count }} {{ verdict }}\
{{ "" if loop.last else ", " }}{% endfor %}


| claim | statement | paper | source | ours | seeds | evidence | verdict | note |
|---|---|---|---|---|---|---|---|---|
{% for row in study.rows %}| {{ row.claim|md }} | {{ row.statement|md }} | \
{{ row.paper|md or "no number" }} | {{ row.source|md }} | {{ row.ours|md }} | {{ row.seeds }} | \
{{ row.evidence|md or "none" }} | {{ symbols[row.verdict] }} {{ row.verdict }} | {{ row.note|md }} |
{% endfor %}{% endif %}{% if study.figures %}
{% for figure in study.figures %}![{{ figure.name|md }}]({{ figure.link }})
{% endfor %}{% endif %}{% endfor %}"""
