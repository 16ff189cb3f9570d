#!/usr/bin/env python3
"""Writes Peerage's Grafana dashboards, dashboards/*.json (classic JSON, schemaVersion 39).

Usage: dashboards.py [--check]

A board is rows of panels, written here in the order in which they are seen; places, ids and what all
panels share follow from that. `F` in a query stands for the variables that every query is filtered by.
"""

import argparse
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent / "dashboards"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
FILTER = 'job=~"$job",model_name=~"$model",instance=~"$instance"'
LAYER = FILTER + ',layer=~"$layer"'
BY_INSTANCE = "job, instance, model_name"
BY_LAYER = "model_name, layer, kind"
WIDTH = 24


def expression(text):
    """F and L are the filters; a division is guarded by its writer."""
    return " ".join(text.split()).replace("{F", "{" + FILTER).replace("{L", "{" + LAYER)


def over(numerator, denominator, match=""):
    """A ratio that is nothing, rather than a division by zero, without traffic. `match` says which
    labels both sides share, if not all."""
    return f"{numerator} / {match} ({denominator} > 0)"


def rate(name, labels="", by=""):
    return f"sum{' by (' + by + ')' if by else ''} (rate({name}{{F{labels}}}[$__rate_interval]))"


def quantile(q, name, by="", labels=""):
    groups = "le" + (", " + by if by else "")
    return f"histogram_quantile({q}, {rate(name + '_bucket', labels, groups)})"


class Panel:
    """One panel; `queries` are (expression, legend)."""

    def __init__(self, kind, title, unit, description, queries, width=6, height=7, **options):
        metrics = sorted({name for text, _ in queries for name in names_in(text)})
        about = f"{description} Metric: {', '.join(f'`{m}`' for m in metrics)}." if metrics else description
        instant = kind in ("stat", "table", "bargauge")
        format_ = {"heatmap": "heatmap", "table": "table"}.get(kind, "time_series")
        self.width, self.height = width, height
        self.json = {
            "type": kind, "title": title, "description": about, "datasource": DATASOURCE,
            "targets": [{"refId": chr(65 + i), "datasource": DATASOURCE, "expr": expression(text),
                         "legendFormat": legend, "format": format_, "instant": instant,
                         "range": not instant}
                        for i, (text, legend) in enumerate(queries)],
            "fieldConfig": {"defaults": {"unit": unit, "mappings": [NO_TRAFFIC]}, "overrides": []},
            "options": {},
        }
        defaults = self.json["fieldConfig"]["defaults"]
        if "steps" in options:
            defaults["thresholds"] = {"mode": "absolute", "steps": steps(options["steps"])}
        if kind == "stat":
            self.json["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "none",
                                    "colorMode": "value" if "steps" in options else "none"}
        if kind == "timeseries":
            defaults["custom"] = {"fillOpacity": 10, "showPoints": "never",
                                  "stacking": {"mode": "normal" if options.get("stacked") else "none"}}
            defaults["min"] = 0
            self.json["options"] = {"legend": {"displayMode": "list", "placement": "bottom"},
                                    "tooltip": {"mode": "multi", "sort": "desc"}}
        if kind == "heatmap":
            self.json["options"] = {"calculate": False, "yAxis": {"unit": unit},
                                    "color": {"mode": "scheme", "scheme": "Spectral", "steps": 64},
                                    "cellGap": 1, "tooltip": {"show": True}}
            self.json["maxDataPoints"] = 60
        if "reference" in options:
            for value, name in options["reference"]:
                self.json["targets"].append(
                    {"refId": f"R{value}".replace(".", ""), "datasource": DATASOURCE,
                     "expr": f"vector({value})", "legendFormat": name, "instant": False, "range": True})
        self.json.update(options.get("more", {}))


NO_TRAFFIC = {"type": "special", "options": {"match": "nan", "result": {"text": "No traffic"}}}


def steps(values):
    """(colour, from) pairs; the first is from the start."""
    return [{"color": colour, "value": value} for colour, value in values]


def names_in(text):
    words, word = set(), ""
    for character in text + " ":
        if character.isalnum() or character in "_:":
            word += character
        else:
            if word.startswith(("peerage_", "process_")):
                words.add(word)
            word = ""
    return words


def text_panel(title, content, width=24, height=12):
    panel = Panel("text", title, "none", "A picture of the admin port, loaded by the browser.", [],
                  width, height)
    panel.json["options"] = {"mode": "html", "content": content}
    panel.json.pop("targets")
    return panel


def table(title, description, columns, width=24, height=9, link=None):
    """Instant queries joined by their labels; `columns` are (name, unit, expression)."""
    panel = Panel("table", title, "none", description, [(e, n) for n, _, e in columns], width, height)
    renames = {f"Value #{chr(65 + i)}": name for i, (name, _, _) in enumerate(columns)}
    panel.json["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": renames}}]
    panel.json["fieldConfig"]["overrides"] = [
        {"matcher": {"id": "byName", "options": name},
         "properties": [{"id": "unit", "value": unit}]} for name, unit, _ in columns]
    if link:
        field, target = link
        panel.json["fieldConfig"]["overrides"].append(
            {"matcher": {"id": "byName", "options": field},
             "properties": [{"id": "links", "value": [{"title": f"Only this {field}", "url": target}]}]})
    return panel


def query_variable(name, label, query, multi=True):
    return {"type": "query", "name": name, "label": label, "datasource": DATASOURCE,
            "query": {"query": query, "refId": "V"}, "definition": query, "refresh": 2, "sort": 3,
            "multi": multi, "includeAll": multi, "allValue": ".+" if multi else None,
            "current": {"text": ["All"], "value": ["$__all"]} if multi else {}}


def choice_variable(name, label, values, chosen):
    return {"type": "custom", "name": name, "label": label, "query": ",".join(values),
            "options": [{"text": v, "value": v, "selected": v == chosen} for v in values],
            "current": {"text": chosen, "value": chosen}}


def variables(*more):
    return [
        {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus",
         "current": {"text": "Prometheus", "value": "peerage-prometheus"}},
        query_variable("job", "Job", "label_values(peerage_build_info, job)"),
        query_variable("model", "Model", 'label_values(peerage_build_info{job=~"$job"}, model_name)'),
        query_variable("instance", "Instance",
                       'label_values(peerage_build_info{job=~"$job",model_name=~"$model"}, instance)'),
        *more]


def board(uid, title, description, rows, more_variables=()):
    """`rows` are (title, panels); panels flow from left to right."""
    panels, y = [], 0
    for name, row in rows:
        panels.append({"type": "row", "title": name, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}})
        y, x, height = y + 1, 0, 0
        for panel in row:
            if x + panel.width > WIDTH:
                y, x, height = y + height, 0, 0
            panel.json["gridPos"] = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            panels.append(panel.json)
            x, height = x + panel.width, max(height, panel.height)
        y += height
    for number, panel in enumerate(panels, 1):
        panel["id"] = number
    return {
        "uid": uid, "title": title, "description": description, "tags": ["peerage"],
        "schemaVersion": 39, "version": 1, "editable": False, "graphTooltip": 1, "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"}, "timezone": "browser",
        "templating": {"list": variables(*more_variables)},
        "links": [{"type": "dashboards", "title": "Peerage", "tags": ["peerage"], "asDropdown": True,
                   "includeVars": True, "keepTime": True}],
        "annotations": {"list": []}, "panels": panels}


def latency(title, name, description):
    return Panel("timeseries", title, "s", description,
                 [(quantile(0.5, name), "p50"), (quantile(0.95, name), "p95"),
                  (quantile(0.99, name), "p99")], width=8)


def heat(title, name, unit, description, width=8, labels="F"):
    return Panel("heatmap", title, unit, description,
                 [(f"sum by (le) (increase({name}_bucket{{{labels}}}[$__rate_interval]))", "{{le}}")], width)


def attained(title, name, slo, description):
    good = rate(name + "_bucket", f',le=~"${slo}"')
    return Panel("stat", title, "percentunit", description,
                 [(over(good, rate(name + "_count")), "")], width=4, height=4,
                 steps=[("red", None), ("orange", 0.9), ("green", 0.95)])


TILE = {"width": 3, "height": 4}
OURS = ',code=~"INTERNAL|UNKNOWN|DATA_LOSS|UNAVAILABLE"'
USED = "peerage_expert_used_ratio"
CHANCE = "peerage_expert_used_expected_ratio"


def above_chance(labels):
    return (f'(peerage_expert_unevenness_nats{{{labels},window="recent",weighting="score"}}'
            f' - peerage_expert_unevenness_expected_nats{{{labels},window="recent",weighting="score"}})')


def used_against_chance(labels):
    return over(f'{USED}{{{labels},window="recent"}}', f'{CHANCE}{{{labels},window="recent"}}')


def mixture_shares(name):
    rates = f"(rate({name}{{L}}[$__rate_interval]))"
    return over(f"sum by (kind, expert) {rates}", f"sum by (kind) {rates}", "on (kind) group_left ()")


def overview():
    return board("peerage-overview", "Peerage overview", "How the service is doing for its clients.", [
        ("Now", [
            Panel("stat", "Requests", "reqps", "Requests that ended or were refused, a second.",
                  [(rate("peerage_requests_total"), "")], **TILE),
            Panel("stat", "Our errors", "percentunit", "Share of the requests that failed by our fault.",
                  [(over(rate("peerage_requests_total", OURS), rate("peerage_requests_total")), "")],
                  steps=[("green", None), ("orange", 0.01), ("red", 0.05)], **TILE),
            Panel("stat", "Refused or late", "reqps", "Requests refused before any step, a second.",
                  [(rate("peerage_requests_refused_total"), "")],
                  steps=[("green", None), ("orange", 0.1), ("red", 1)], **TILE),
            Panel("stat", "Tokens out", "suffix:tok/s", "Tokens generated and delivered, a second.",
                  [(rate("peerage_generation_tokens_total"), "")], **TILE),
            Panel("stat", "First token, p95", "s", "95 of 100 first tokens come within this time.",
                  [(quantile(0.95, "peerage_time_to_first_token_seconds"), "")],
                  steps=[("green", None), ("orange", 1), ("red", 2.5)], **TILE),
            Panel("stat", "Next token, p95", "s", "95 of 100 tokens follow theirs within this time.",
                  [(quantile(0.95, "peerage_inter_token_latency_seconds"), "")],
                  steps=[("green", None), ("orange", 0.1), ("red", 0.25)], **TILE),
            Panel("stat", "Unreachable", "none", "Targets that Prometheus cannot scrape.",
                  [('count(up{job=~"$job"} == 0) or vector(0)', "")],
                  steps=[("green", None), ("red", 1)], **TILE),
            Panel("stat", "Experts used against chance", "percentunit",
                  "Of the experts that an even router would have used lately, the worst layer.",
                  [(f"min({used_against_chance('F')})", "")],
                  steps=[("red", None), ("orange", 0.5), ("green", 0.8)],
                  more={"links": [{"title": "Experts", "url":
                                   "/d/peerage-experts?${__url_time_range}&${__all_variables}"}]},
                  **TILE)]),
        ("Promises", [
            attained("First token in time", "peerage_time_to_first_token_seconds", "ttft_slo",
                     "Share of the first tokens within the chosen bound."),
            attained("Next token in time", "peerage_inter_token_latency_seconds", "tpot_slo",
                     "Share of the later tokens within the chosen bound."),
            Panel("timeseries", "Requests by code", "reqps", "How requests end.",
                  [(rate("peerage_requests_total", by="code") + " > 0", "{{code}}")], width=16,
                  stacked=True)]),
        ("Latency", [
            latency("First token", "peerage_time_to_first_token_seconds", "Arrival to first token."),
            latency("Next token", "peerage_inter_token_latency_seconds", "From token to token."),
            latency("Whole request", "peerage_request_e2e_seconds", "Arrival to end."),
            heat("First token", "peerage_time_to_first_token_seconds", "s", "Arrival to first token.", 12),
            heat("Next token", "peerage_inter_token_latency_seconds", "s", "From token to token.", 12)]),
        ("Where time goes", [
            Panel("timeseries", "Of a request", "s", "Mean time in each stage.",
                  [(over(rate(f"peerage_request_{stage}_seconds_sum"),
                         rate(f"peerage_request_{stage}_seconds_count")), stage)
                   for stage in ("queue", "prefill", "decode")], width=8, stacked=True),
            Panel("timeseries", "Step by phase, p95", "s", "Duration of the model's steps.",
                  [(quantile(0.95, "peerage_step_seconds", "phase"), "{{phase}}")], width=8),
            Panel("timeseries", "Running and waiting", "none", "Requests.",
                  [("sum(peerage_requests_running{F})", "running"),
                   ("sum(peerage_requests_waiting{F})", "waiting")], width=8),
            Panel("timeseries", "KV cache in use", "percentunit", "Of each instance.",
                  [("peerage_kv_cache_usage_ratio{F}", "{{instance}}")], width=8),
            Panel("timeseries", "Prefix cache hits", "percentunit",
                  "Of the tokens of prompts and contexts, what need not be computed.",
                  [(over(rate("peerage_prefix_cache_hit_tokens_total"),
                         rate("peerage_prefix_cache_query_tokens_total")), "")], width=8),
            Panel("timeseries", "Refusals", "reqps", "Requests refused before any step.",
                  [(rate("peerage_requests_refused_total", by="reason") + " > 0", "{{reason}}")], width=8),
            Panel("timeseries", "Cancellations", "reqps", "By the stage that a request had reached.",
                  [(rate("peerage_requests_cancelled_total", by="stage") + " > 0", "{{stage}}")],
                  width=8)]),
        ("Instances", [
            table("Instances", "One row an instance.", [
                ("requests/s", "reqps", rate("peerage_requests_total", by=BY_INSTANCE)),
                ("tokens/s", "suffix:tok/s", rate("peerage_generation_tokens_total", by=BY_INSTANCE)),
                ("running", "none", f"sum by ({BY_INSTANCE}) (peerage_requests_running{{F}})"),
                ("waiting", "none", f"sum by ({BY_INSTANCE}) (peerage_requests_waiting{{F}})"),
                ("KV in use", "percentunit", f"sum by ({BY_INSTANCE}) (peerage_kv_cache_usage_ratio{{F}})"),
                ("memory", "bytes", f"sum by ({BY_INSTANCE}) (process_resident_memory_bytes{{F}})"),
                ("heartbeat age", "s",
                 f"time() - max by ({BY_INSTANCE}) (peerage_engine_heartbeat_timestamp_seconds{{F}})")],
                link=("instance", "/d/peerage-scheduler?var-instance=${__value.text}&${__url_time_range}"))]),
    ], (choice_variable("ttft_slo", "First token within (s)", ["0.25", "0.5", "1", "2.5", "5"], "1"),
        choice_variable("tpot_slo", "Next token within (s)", ["0.05", "0.1", "0.25", "0.5"], "0.1")))


def experts():
    recent = ',window="recent"'
    image = '<img style="width:49%" src="${{peerage_url}}/experts/usage.png?layer=${{layer}}&window=recent&scale={0}&t=${{__to}}">'
    worst = {"width": 3, "height": 4}
    return board("peerage-experts", "Peerage experts", "Which experts the models use, beside chance.", [
        ("Worst layers", [
            Panel("stat", "Used against chance", "percentunit",
                  "Of the experts that an even router would have used lately.",
                  [(f"min({used_against_chance('L')})", "")],
                  steps=[("red", None), ("orange", 0.5), ("green", 0.8)], **worst),
            Panel("stat", "Unevenness above chance", "suffix: nats",
                  "What is left when an even router's by chance is taken off. PEER's paper has 1.06 and 1.52.",
                  [(f"max({above_chance('L')})", "")],
                  steps=[("green", None), ("orange", 1.06), ("red", 1.52)], **worst),
            Panel("stat", "Effective experts", "percentunit",
                  "exp(entropy) of the recent window, of all experts.",
                  [("min(" + over('peerage_expert_effective{L,window="recent",weighting="score"}',
                                  "peerage_expert_count{L}",
                                  "on (job, instance, model_name, layer, kind)") + ")", "")],
                  **worst),
            Panel("stat", "Top 1 % takes", "percentunit", "Selections of the hottest 1 % of the experts.",
                  [('max(peerage_expert_top_share_ratio{L,window="recent",top="0.01"})', "")], **worst),
            Panel("stat", "Unused beyond chance", "percentunit",
                  "Experts never selected, less those that chance leaves, of all.",
                  [("max((peerage_expert_unused{L} - peerage_expert_unused_expected{L}) / "
                    "(peerage_expert_count{L} > 0))", "")],
                  steps=[("green", None), ("orange", 0.1), ("red", 0.5)], **worst),
            Panel("stat", "Drift", "suffix: nats", "Of the recent window from the total.",
                  [('max(peerage_expert_drift_nats{L,against="total"})', "")],
                  steps=[("green", None), ("orange", 0.1), ("red", 0.2)], **worst),
            Panel("stat", "Reuse in a step", "percentunit",
                  "Selections of experts that another token or head of the step had read already.",
                  [("1 - " + over("sum(rate(peerage_expert_step_distinct_total{L}[$__rate_interval]))",
                                  "sum(rate(peerage_expert_selections_total{L}[$__rate_interval]))"), "")],
                  **worst),
            Panel("stat", "Age of the figures", "s", "Since they were computed.",
                  [("time() - min(peerage_expert_stats_timestamp_seconds{F} > 0)", "")],
                  steps=[("green", None), ("orange", 60), ("red", 300)], **worst)]),
        ("Layers", [
            table("Layers", "The recent window; click a layer to see only that.", [
                ("used", "percentunit", f"avg by ({BY_LAYER}) ({USED}{{L{recent}}})"),
                ("by chance", "percentunit", f"avg by ({BY_LAYER}) ({CHANCE}{{L{recent}}})"),
                ("unevenness", "none",
                 f'avg by ({BY_LAYER}) (peerage_expert_unevenness_nats{{L{recent},weighting="score"}})'),
                ("unevenness by chance", "none",
                 f'avg by ({BY_LAYER}) (peerage_expert_unevenness_expected_nats{{L{recent},weighting="score"}})'),
                ("effective", "short",
                 f'avg by ({BY_LAYER}) (peerage_expert_effective{{L{recent},weighting="score"}})'),
                ("Gini", "none", f"avg by ({BY_LAYER}) (peerage_expert_gini{{L{recent}}})"),
                ("drift", "none", f'avg by ({BY_LAYER}) (peerage_expert_drift_nats{{L,against="total"}})'),
                ("selections", "short", f"sum by ({BY_LAYER}) (increase(peerage_expert_selections_total{{L}}[$__rate_interval]))")],
                link=("layer", "/d/peerage-experts?var-layer=${__value.text}&${__url_time_range}"))]),
        ("Over time", [
            Panel("timeseries", "Used, and by chance", "percentunit", "Of the recent window.",
                  [(f"{USED}{{L{recent}}}", "{{layer}} {{kind}}"),
                   (f"{CHANCE}{{L{recent}}}", "{{layer}} {{kind}} by chance")], width=8, height=8),
            Panel("timeseries", "Unevenness above chance", "none", "In nats; lines are PEER's paper, Table 2.",
                  [(above_chance("L"), "{{layer}} {{kind}}")], width=8, height=8,
                  reference=[(1.06, "paper, query batch norm"), (1.52, "paper, without")]),
            Panel("timeseries", "Drift from the total", "none", "Jensen-Shannon divergence in nats.",
                  [('peerage_expert_drift_nats{L,against="total"}', "{{layer}} {{kind}}")], width=8, height=8)]),
        ("Routers", [
            heat("What the picked experts weigh", "peerage_router_topk_mass_ratio", "percentunit",
                 "Share of softmax over all experts that those picked have; 1 token in 16.", labels="L"),
            heat("Entropy", "peerage_router_entropy_ratio", "percentunit",
                 "Of softmax over all experts, of ln N: 0 is sure, 1 is even; 1 token in 16.", labels="L"),
            Panel("timeseries", "Expert bytes a token", "bytes",
                  "Records that steps read, each once a step, by tokens computed.",
                  [(over("sum(rate(peerage_expert_bytes_read_total{L}[$__rate_interval]))",
                         rate("peerage_prompt_tokens_total") + " + " + rate("peerage_generation_tokens_total")),
                    "")], width=8),
            heat("Experts a request", "peerage_request_distinct_experts", "short",
                 "Different experts that requests used, over all layers."),
            table("Heads", "Use of each head's sub-keys, the worse half; near 0 is a dead head. With "
                           "--expert-metrics full.", [
                ("used", "percentunit", f"min by ({BY_LAYER}, head) (peerage_subkey_used_ratio{{L}})"),
                ("entropy", "percentunit", f"min by ({BY_LAYER}, head) (peerage_subkey_entropy_ratio{{L}})")],
                width=8),
            heat("Rows", "peerage_expert_row_selections", "none",
                 "Selections by the first sub-key, in blocks of neighbours.", labels="L"),
            heat("Columns", "peerage_expert_column_selections", "none",
                 "Selections by the second sub-key, in blocks of neighbours.", labels="L")]),
        ("Hot experts", [
            table("Hottest ten", "Of the total window, a row a rank.", [
                ("expert", "none", f"max by ({BY_LAYER}, rank) (peerage_expert_hot_index{{L}})"),
                ("share", "percentunit", f"max by ({BY_LAYER}, rank) (peerage_expert_hot_share_ratio{{L}})")],
                width=10),
            Panel("timeseries", "Shares of the hottest", "percentunit",
                  "Of all selections, those of the most selected part of the experts.",
                  [(f"avg by (top) (peerage_expert_top_share_ratio{{L{recent}}})", "top {{top}}")], width=7, height=9),
            Panel("bargauge", "Experts by selections", "short",
                  "Experts per power of two of their selections; with --expert-metrics full.",
                  [("sum by (bucket) (peerage_experts_by_usage{L})", "{{bucket}}")], width=7, height=9)]),
        ("Map", [text_panel("Usage map, logarithmic and linear",
                            image.format("log") + image.format("linear"))]),
        ("Mixtures", [
            Panel("timeseries", "Shares of the scores", "percentunit",
                  "How much of the output each expert decides, over all layers of a kind.",
                  [(mixture_shares("peerage_mixture_expert_score_total"), "{{kind}} {{expert}}")],
                  width=12, height=9, stacked=True),
            Panel("timeseries", "Shares of the selections", "percentunit", "How often each expert is asked.",
                  [(mixture_shares("peerage_mixture_expert_selections_total"), "{{kind}} {{expert}}")],
                  width=12, height=9, stacked=True)]),
        ("Cost", [
            Panel("timeseries", "Processor time of these figures", "percentunit", "Of one core, by stage.",
                  [(rate("peerage_expert_stats_seconds_sum", by="stage"), "{{stage}}")], width=12)]),
    ], (query_variable("layer", "Layer", "label_values(peerage_expert_count{" + FILTER + "}, layer)"),
        {"type": "textbox", "name": "peerage_url", "label": "Admin port, as this browser sees it",
         "query": "http://127.0.0.1:9091",
         "current": {"text": "http://127.0.0.1:9091", "value": "http://127.0.0.1:9091"}}))


def scheduler():
    return board("peerage-scheduler", "Peerage scheduler and instances", "What the engine does with its time.", [
        ("Queue", [
            Panel("timeseries", "Waiting by reason", "none", "Requests, by what the first of them waits for.",
                  [("sum by (reason) (peerage_requests_waiting_by_reason{F})", "{{reason}}")], width=8),
            Panel("timeseries", "Prompt tokens that wait", "none", "Of prompts and contexts.",
                  [("sum by (instance) (peerage_queued_prompt_tokens{F})", "{{instance}}")], width=8),
            Panel("timeseries", "Parked streams", "none", "Running requests whose readers are behind.",
                  [("sum by (instance) (peerage_streams_parked{F})", "{{instance}}")], width=8),
            Panel("timeseries", "Tenants' gap", "none",
                  "Tokens served: the largest difference between tenants whose requests wait.",
                  [("max by (instance) (peerage_fair_share_gap_tokens{F})", "{{instance}}")], width=8),
            Panel("timeseries", "Preemptions", "suffix: /s", "Running requests that were put back.",
                  [(rate("peerage_preemptions_total", by="instance"), "{{instance}}")], width=8),
            Panel("timeseries", "Recomputed tokens", "suffix:tok/s", "Computed once more after that.",
                  [(rate("peerage_recomputed_tokens_total", by="instance"), "{{instance}}")], width=8)]),
        ("Steps", [
            heat("Tokens of a step", "peerage_step_tokens", "none", "Prefill and decode together."),
            heat("Sequences of a step", "peerage_step_sequences", "none", "Computed in one step."),
            heat("Step time", "peerage_step_seconds", "s", "The model's calls."),
            Panel("timeseries", "Steps by phase", "suffix: /s", "What steps compute.",
                  [(rate("peerage_step_seconds_count", by="phase"), "{{phase}}")], width=8, stacked=True),
            Panel("timeseries", "Overhead", "percentunit",
                  "Of a worker's time: scheduling and delivery, without the model.",
                  [(rate("peerage_engine_overhead_seconds_total", by="instance"), "{{instance}}")], width=8),
            Panel("timeseries", "Heartbeat age", "s", "Since the end of the loop's last turn.",
                  [("time() - max by (instance) (peerage_engine_heartbeat_timestamp_seconds{F})", "{{instance}}")],
                  width=8)]),
        ("Requests", [
            heat("Prompt tokens", "peerage_request_prompt_tokens", "none", "Of started requests.", 12),
            heat("Generated tokens", "peerage_request_generation_tokens", "none", "Of started requests.", 12),
            Panel("timeseries", "Tokens", "suffix:tok/s", "Computed and delivered.",
                  [(rate("peerage_prompt_tokens_total"), "prompts"),
                   (rate("peerage_generation_tokens_total"), "generated"),
                   (rate("peerage_scored_tokens_total"), "scored")], width=12),
            Panel("timeseries", "How candidates end", "suffix: /s", "By reason.",
                  [(rate("peerage_candidates_finished_total", by="reason") + " > 0", "{{reason}}")], width=12)]),
        ("Memory and process", [
            Panel("timeseries", "Memory, planned and resident", "bytes", "The plan by part, and what is there.",
                  [("sum by (part) (peerage_memory_planned_bytes{F})", "{{part}}"),
                   ("sum(process_resident_memory_bytes{F})", "resident")], width=8),
            Panel("timeseries", "Processor", "none", "Cores in use.",
                  [(rate("process_cpu_seconds_total", by="instance"), "{{instance}}")], width=8),
            Panel("timeseries", "Open files", "none", "File descriptors.",
                  [("sum by (instance) (process_open_fds{F})", "{{instance}}")], width=8)]),
    ])


BOARDS = {"overview": overview, "experts": experts, "scheduler": scheduler}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    for name, make in BOARDS.items():
        path = HERE / f"{name}.json"
        text = json.dumps(make(), indent=1, ensure_ascii=False) + "\n"
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.exit(f"{path} is not what dashboards.py writes")


if __name__ == "__main__":
    main()
