"""The scorecard's page, a Jinja template: one file that loads nothing from elsewhere.

It stands in a Python module so that the code's fingerprint sees a change to it. Every value is
escaped by Jinja's autoescaping. A claim is a line that unfolds; on a narrow screen the line's
cells stand below each other.
"""

from forgetting.scorecard.style import SCRIPT, STYLE

MACROS = """\
{%- macro verdict(word) -%}
<span class="verdict {{ word|replace(' ', '-') }}">{{ symbols[word] }} {{ word }}</span>
{%- endmacro -%}

{%- macro drawing(p) -%}
<svg width="180" height="42" viewBox="0 0 180 42" role="img" aria-label="{{ p.label }}">
{% if p.claimed %}<rect x="{{ p.claimed[0] }}" y="4" width="{{ p.claimed[1] }}" height="24" \
fill="#dcebf6"/>{% endif %}
<line x1="4" y1="20" x2="176" y2="20" stroke="#d5dae0"/>
{% if p.zero is not none %}<line x1="{{ p.zero }}" y1="4" x2="{{ p.zero }}" y2="28" \
stroke="#8b949e" stroke-dasharray="2 2"/>{% endif %}
{% if p.low is not none %}<line x1="{{ p.low }}" y1="20" x2="{{ p.high }}" y2="20" \
stroke="#1b1f24" stroke-width="3"/>
<path d="M{{ p.low }} 13 v14 M{{ p.high }} 13 v14" stroke="#1b1f24" stroke-width="1.5"/>{% endif %}
<circle cx="{{ p.value }}" cy="20" r="4" fill="#1b1f24"/>
{% if p.paper is not none %}<path d="M{{ p.paper }} 3 l5 5 l-5 5 l-5 -5 z" fill="#fff" \
stroke="#a13200" stroke-width="2"/>{% endif %}
{% if p.ends[0] != p.ends[1] %}<text x="4" y="40">{{ p.ends[0] }}</text>\
<text x="176" y="40" text-anchor="end">{{ p.ends[1] }}</text>{% endif %}
</svg>
{%- endmacro -%}

{%- macro slice(s) -%}
<p class="soft">{{ s.rows }} rows of <code>tables/{{ s.table }}.csv</code>\
{% if s.value %}, column <code>{{ s.value }}</code>{% endif %}\
{% for column, value in s.same.items() %}{{ "; all with " if loop.first else ", " }}\
{{ column }} {{ value or "empty" }}{% endfor %}.</p>
<div class="wide" tabindex="0"><table>
<thead><tr>{% for column in s.columns %}<th scope="col"\
{% if loop.index > s["keys"] %} class="number"{% endif %}>{{ column }}</th>{% endfor %}</tr></thead>
<tbody>{% for line in s.cells %}<tr>{% for cell in line %}<td\
{% if loop.index > s["keys"] %} class="number"{% endif %}>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{% if s.lines > s.cells|length %}<p class="soft">The first {{ s.cells|length }} of {{ s.lines }}
lines; the others are in the file.</p>{% endif %}
{%- endmacro -%}

{%- macro number(n) -%}
<h3>{{ n.heading }}</h3>
{% if n.per_seed %}<p>{% for seed, value in n.per_seed.items() %}seed {{ seed }}: \
<span class="number">{{ value }}</span>{{ "" if loop.last else ", " }}{% endfor %}\
{% if n.needed %}; {{ n.needed }}{% endif %}</p>
{% for s in n.slices %}{{ slice(s) }}{% endfor %}
<details class="fold"><summary>Definition of <code>{{ n.statistic }}</code></summary>
{% for kind, text in n.definition %}<{{ kind }}>{{ text|code }}</{{ kind }}>
{% endfor %}<p class="soft">Settings: {{ n.settings }}</p></details>
{% else %}<p>Not run.</p>{% endif %}
{%- endmacro -%}

{%- macro claim(study, anchor, row) -%}
{% set d = row.details %}<details class="claim" id="{{ anchor }}" data-study="{{ study.name }}" \
data-verdict="{{ row.verdict }}" data-evidence="{{ row.evidence }}">
<summary><span class="statement"><span>{{ row.statement }}</span>\
<span class="name">{{ row.claim }}</span>
{% for badge, heading, text in d.doubts %}<i class="doubt" title="{{ heading }}">{{ badge }}</i>
{% endfor %}</span>
<span><b>Paper</b><span class="number">{{ row.paper or "no number" }}</span>\
<span class="source">{{ row.source }}</span></span>
<span><b>Ours</b><span class="number">{{ row.ours }}</span>\
{% if row.plot %}{{ drawing(row.plot) }}{% endif %}</span>
<span><b>Seeds and data</b>{{ row.seeds }} seeds\
{% if row.evidence %}, {{ row.evidence }}{% endif %}\
{% if d.data %}<span class="source">{{ d.data }}</span>{% endif %}</span>
<span><b>Verdict</b>{{ verdict(row.verdict) }}\
{% if d.why %}<span class="source">{{ d.why }}</span>{% endif %}</span></summary>
<div class="body">
{% if d.tested %}<p>{% for reason in d.reasons %}{{ reason|capital }}.
{% endfor %}{{ d.tested|capital }}.</p>
{% if d.note %}<p>Note: {{ d.note }}.</p>{% endif %}
{% else %}<p>{{ row.note }}</p>{% endif %}
{% for badge, heading, text in d.doubts %}<p class="warning"><strong>{{ heading }}.</strong> \
{{ text }}.</p>
{% endfor %}
{% for name in d.figures if name in study.drawn %}{% if loop.first %}<h3>Figure</h3>{% endif %}
<p class="shown"><a href="#{{ study.name }}.figure.{{ name|slug }}" \
data-figure="{{ study.name }}.figure.{{ name|slug }}">{{ name }}</a></p>
{% endfor %}{% for n in d.numbers %}{{ number(n) }}{% endfor %}
{% if d.runs %}<h3>Runs</h3>
<div class="wide" tabindex="0"><table><thead><tr><th scope="col">run</th>\
<th scope="col">seeds</th><th scope="col">ended</th><th scope="col">code</th></tr></thead><tbody>
{% for run in d.runs %}<tr><td>{% if run.settings %}\
<a href="#{{ study.name }}.run.{{ run.anchor }}">{{ run.path }}</a>{% else %}{{ run.path }}\
{% endif %}</td><td>{{ run.seeds }}</td><td>{{ run.ended }}</td>\
<td class="mono">{{ run.code }}</td></tr>
{% endfor %}</tbody></table></div>{% endif %}
{% if d.command %}<h3>This row again</h3>
<pre class="command">{{ d.command }}</pre>
{% if d.cost %}<p class="soft">{{ d.cost }}.</p>{% endif %}{% endif %}
</div>
</details>
{%- endmacro -%}

{%- macro glance(claims) -%}
<ul class="glance">
{% for name, cases in claims.items() %}<li>{{ name|replace("-", " ") }} \
{% for anchor, row in cases %}<a class="{{ row.verdict|replace(' ', '-') }}" href="#{{ anchor }}" \
title="{{ row.verdict }}: {{ row.statement }}" \
aria-label="{{ row.verdict }}: {{ row.statement }}">{{ symbols[row.verdict] }}</a>{% endfor %}</li>
{% endfor %}</ul>
{%- endmacro -%}
"""

HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Scorecard ({{ preset }})</title>
<style>
"""

BODY = """\
</style>
</head>
<body>
<header>
<h1>Scorecard: what holds, and on what evidence</h1>
<p class="soft">Preset <strong>{{ preset }}</strong>. Every claim is a test over seeds:
reproduced when our interval lies wholly on the claimed side of a stated margin, contradicted when
wholly on the other, else inconclusive; inconclusive, too, with fewer than three seeds and where
what the claim presupposes did not happen in our runs. A value that a paper has from one run is
compared with the interval for one further run of ours; how high it is depends on how long and on
how much was trained, so that it is only judged under the paper's protocol. Intervals are Student's
over seeds (from ten seeds on a bootstrap; of a share of seeds the binomial one), nominally of
95 %, each by itself: some of {{ judged }} are wrong by chance, and an end may lie beyond what the
quantity can be. Each line opens what it rests on.</p>
{% if warnings %}<div class="warning" role="note">
{% for warning in warnings %}<p>{{ warning }}</p>
{% endfor %}</div>
{% endif %}<div class="wide" tabindex="0"><table class="overview">
<thead><tr><th scope="col">Study</th>{% for word in symbols %}<th scope="col" class="number">\
{{ symbols[word] }} <span class="word">{{ word }}</span></th>{% endfor %}\
<td aria-hidden="true"></td></tr></thead>
<tbody>{% for study in studies %}<tr><td><a href="#{{ study.name }}">{{ study.name }}</a></td>
{% for word in symbols %}<td class="number">{% if word == "reproduced" and study.doubted %}\
<span class="soft">{{ study.doubted }} with a doubt, of</span> {% endif %}\
{{ study.counts.get(word, 0) }}</td>{% endfor %}
<td aria-hidden="true"><div class="bar">{% for word, count in study.counts.items() %}\
<span class="{{ word|replace(' ', '-') }}" style="flex: {{ count }}"></span>{% endfor %}</div></td>
</tr>{% endfor %}</tbody></table></div>
<p class="soft">A doubt stands beside a row where paper and code differ, where an estimator is
unsound, or where a claim could hardly fail, as against weak baselines alone.</p>
{% if evidence %}<dl class="kinds">{% for kind, text in evidence.items() %}<dt>{{ kind }}:</dt> \
<dd>{{ text }}</dd>{% endfor %}</dl>{% endif %}
<p class="soft">In the drawings the dot and bar are ours with its interval, the open diamond is the
paper's value, the dashed line is zero and the shaded part is the side that is claimed. Each has a
scale of its own, whose ends the two numbers are.</p>
<p class="soft">The commands run in a clone of the project, in its environment:
<code>make .venv/installed</code> makes it, <code>. .venv/bin/activate</code> enters it. They train
the runs of a row and judge all claims that those runs suffice for, into
<code>results/{{ preset }}/STUDY/partial/only/claims.csv</code>; the images that they need are
downloaded. Where you have them, give <code>data_dir=FOLDER</code> in place of
<code>download=true</code>.</p>
</header>
<main>
<form id="filter" role="search" aria-label="Filter the claims" hidden>
<label>Study <select name="study"><option value="">all</option>\
{% for study in studies %}<option>{{ study.name }}</option>{% endfor %}</select></label>
<fieldset aria-label="Verdicts">{% for word in symbols %}<label class="verdict \
{{ word|replace(' ', '-') }}"><input type="checkbox" name="verdict" value="{{ word }}" checked>\
{{ symbols[word] }} {{ word }}</label>{% endfor %}</fieldset>
{% if evidence|length > 1 %}<label>Data <select name="evidence"><option value="">all</option>\
{% for kind in evidence %}<option>{{ kind }}</option>{% endfor %}</select></label>
{% endif %}<label>Search <input type="search" name="words" autocomplete="off"></label>
<output aria-live="polite"></output>
</form>
{% for study in studies %}<section class="study" id="{{ study.name }}">
<h2>{{ study.title }}</h2>
<p class="soft">{{ study.name }}{% if study.paper %}: {{ study.paper }}{% endif %}</p>
{% if study.reduction and study.rows %}<p><strong>Smaller than in the paper:</strong> \
{{ study.reduction }}.</p>
{% endif %}{% if not study.rows %}<p>{{ verdict("not run") }}
No claims of this study have been judged with this preset.</p>
{% else %}{% if study.main %}<h3>The main claims</h3>
{{ glance(study.main) }}
<details class="fold"><summary>All {{ study.glance|length }} claims at a glance</summary>
{{ glance(study.glance) }}</details>
{% else %}{{ glance(study.glance) }}
{% endif %}<div class="columns" aria-hidden="true"><span>Claim</span><span>Paper</span>\
<span>Ours</span><span>Seeds and data</span><span>Verdict</span></div>
{% for anchor, row in study.judged %}{{ claim(study, anchor, row) }}
{% endfor %}{% if study.not_run %}<details class="fold unrun"><summary>\
{{ study.not_run|length }} claims that need runs which this preset does not have</summary>
{% for anchor, row in study.not_run %}{{ claim(study, anchor, row) }}
{% endfor %}</details>
{% endif %}{% endif %}{% if study.figures %}<details class="fold">\
<summary>All figures ({{ study.figures|length }})</summary>
{% for figure in study.figures %}<figure id="{{ study.name }}.figure.{{ figure.name|slug }}">\
<img alt="{{ figure.name }}" src="{{ figure.data }}" loading="lazy">
<figcaption>{{ figure.name }}</figcaption></figure>
{% endfor %}</details>
{% endif %}{% if study.runs %}<details class="fold"><summary>Settings of the runs \
({{ study.runs|length }})</summary>
{% for run in study.runs %}{% if run.settings %}<details class="fold" \
id="{{ study.name }}.run.{{ run.anchor }}"><summary>{{ run.path }}</summary>
<dl>{% for kind, name, settings in run.settings %}<dt>{{ kind }} {{ name }}</dt>\
<dd>{{ settings }}</dd>{% endfor %}<dt>made</dt><dd>{{ run.made }}; code {{ run.code }}</dd></dl>
</details>
{% endif %}{% endfor %}</details>
{% endif %}</section>
{% endfor %}</main>
<script>
"""

PAGE = MACROS + HEAD + STYLE + BODY + SCRIPT + "</script>\n</body>\n</html>\n"
