"""The scorecard as Markdown, a Jinja template: a table for each study, then its figures."""

MARKDOWN = """\
# Scorecard: what holds, and on what evidence

Preset **{{ preset|md }}**. Every claim is a test over seeds: reproduced when our interval lies \
wholly on the claimed side of a stated margin, contradicted when wholly on the other, else \
inconclusive. Intervals cover 95 %, each by itself: of {{ judged }} judged some are wrong by \
chance. Only evidence of the kind *protocol* speaks of the paper.
{% for warning in warnings %}
> **{{ warning|md }}**
{% endfor %}{% for study in studies %}
## {{ study.title|md }}

{{ study.name|md }}{% if study.paper %}: {{ study.paper|md }}{% endif %}
{% if study.reduction and study.rows %}
Smaller than in the paper: {{ study.reduction|md }}.
{% endif %}
{% if not study.rows %}{{ symbols["not run"] }} **not run**: no claims of this study have been \
judged with this preset.
{% else %}{% for verdict, count in study.counts.items() %}{{ symbols[verdict] }} {{ count }} \
{{ verdict }}{% if verdict == "reproduced" and study.doubted %} ({{ study.doubted }} with a \
doubt){% endif %}{{ "" if loop.last else ", " }}{% endfor %}


| claim | statement | paper | source | ours | seeds | evidence | verdict | note |
|---|---|---|---|---|---|---|---|---|
{% for row in study.rows %}| {{ row.claim|md }} | {{ row.statement|md }} | \
{{ row.paper|md or "no number" }} | {{ row.source|md }} | {{ row.ours|md }} | {{ row.seeds }} | \
{{ row.evidence|md or "none" }} | {{ symbols[row.verdict] }} {{ row.verdict }} | {{ row.note|md }} |
{% endfor %}{% endif %}{% if study.figures %}
{% for figure in study.figures %}![{{ figure.name|md }}]({{ figure.link }})
{% endfor %}{% endif %}{% endfor %}"""
