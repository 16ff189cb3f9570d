#!/usr/bin/env python3
"""Writes rules_test.yml: for each alert of rules.yml one load that fires it and ones that do not.

Usage: make_rules_test.py [--check]
"""

import argparse
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
SERVER = 'job="peerage",instance="a:9091",model_name="m"'
LAYER = SERVER + ',layer="3",kind="peer"'


def server(name, values, labels=""):
    return f"{name}{{{SERVER}{',' if labels else ''}{labels}}}", values


def layer(name, values, labels=""):
    return f"{name}{{{LAYER}{',' if labels else ''}{labels}}}", values


def errors(per_minute, of):
    return [server("peerage_requests_total", f"0+{per_minute}x30", 'method="generate",code="INTERNAL"'),
            server("peerage_requests_total", f"0+{of - per_minute}x30", 'method="generate",code="OK"'),
            server("peerage_requests_total", "0+50x30", 'method="generate",code="CANCELLED"')]


def first_tokens(slow, of, minutes):
    return [server("peerage_time_to_first_token_seconds_bucket", f"0+{of - slow}x{minutes}", 'le="2.5"'),
            server("peerage_time_to_first_token_seconds_count", f"0+{of}x{minutes}")]


def cache(ratio, waiting):
    return [server("peerage_kv_cache_usage_ratio", f"{ratio}x30"),
            server("peerage_requests_waiting_by_reason", f"{waiting}x30", 'reason="kv_blocks"')]


def preempted(preemptions, requests):
    return [server("peerage_preemptions_total", f"0+{preemptions}x30"),
            server("peerage_request_queue_seconds_count", f"0+{requests}x30")]


def used(ratio, expected):
    return [layer("peerage_expert_used_ratio", f"{ratio}x60", 'window="recent"'),
            layer("peerage_expert_used_expected_ratio", f"{expected}x60", 'window="recent"')]


def drift(nats, per_minute, against="total"):
    return [layer("peerage_expert_drift_nats", f"{nats}x60", f'against="{against}"'),
            layer("peerage_expert_selections_total", f"0+{per_minute}x60"),
            layer("peerage_expert_count", "1024x60")]


def uneven(yesterday, today, expected):
    return [layer("peerage_expert_unevenness_nats", f"{yesterday}x1440 {today}x60",
                  'window="recent",weighting="score"'),
            layer("peerage_expert_unevenness_expected_nats", f"{expected}x1500",
                  'window="recent",weighting="score"')]


def hottest(share, experts, selections):
    return [layer("peerage_expert_hot_share_ratio", f"{share}x30", 'rank="1"'),
            layer("peerage_expert_count", f"{experts}x30"),
            layer("peerage_expert_selections_total", f"{selections}x30"),
            layer("peerage_router_topk_mass_ratio_count", f"{selections / 32 / 16}x30")]


def heads(row, column, selections):
    return [layer("peerage_subkey_used_ratio", "0.9x30", 'head="0",axis="row"'),
            layer("peerage_subkey_used_ratio", "0.9x30", 'head="0",axis="column"'),
            layer("peerage_subkey_used_ratio", f"{row}x30", 'head="1",axis="row"'),
            layer("peerage_subkey_used_ratio", f"{column}x30", 'head="1",axis="column"'),
            layer("peerage_expert_selections_total", f"{selections}x30"),
            layer("peerage_expert_count", "1048576x30")]


# Alert: the minute to look at, then (whether it fires, series).
CASES = {
    "PeerageTargetDown": (5, [
        (True, [("up{job=\"peerage\",instance=\"a:9091\"}", "1 0x9")]),
        (False, [("up{job=\"peerage\",instance=\"a:9091\"}", "1 0 1x9")])]),
    "PeerageHighErrorRatio": (15, [
        (True, errors(10, 100)),
        (False, errors(2, 100)),
        (False, errors(0, 0))]),
    "PeerageTTFTBudgetBurn": (70, [
        (True, first_tokens(60, 100, 80)),
        (False, first_tokens(4, 100, 80)),
        (False, first_tokens(0, 0, 80))]),
    "PeerageQueueBuildup": (20, [
        (True, [server("peerage_requests_waiting", "3+1x30")]),
        (False, [server("peerage_requests_waiting", "40-2x19 2x10")]),
        (False, [server("peerage_requests_waiting", "0 5 0 5 0 5 0 5 0 5 0 5 0 5 0 5 0 5 0 5 0 5")])]),
    "PeerageKVCacheSaturated": (15, [
        (True, cache(0.99, 4)),
        (False, cache(0.99, 0)),
        (False, cache(0.6, 4))]),
    "PeeragePreemptionStorm": (20, [
        (True, preempted(40, 100)),
        (True, preempted(40, 0)),
        (False, preempted(10, 100)),
        (False, preempted(0, 0))]),
    "PeerageEngineStalled": (10, [
        (True, [server("peerage_engine_heartbeat_timestamp_seconds", "30x20")]),
        (False, [server("peerage_engine_heartbeat_timestamp_seconds", "1+60x20")]),
        (False, [server("peerage_engine_heartbeat_timestamp_seconds", "0x20")])]),
    "PeerageExpertUsageCollapsed": (30, [
        (True, used(0.05, 0.99)),
        (False, used(0.9, 0.99)),
        (False, used(0.001, 0.05))]),
    "PeerageExpertDrift": (30, [
        (True, drift(0.5, 100000)),
        (True, drift(0.5, 100000, "baseline")),
        (False, drift(0.05, 100000)),
        (False, drift(0.5, 100))]),
    "PeerageExpertUnevennessRising": (1490, [
        (True, uneven(0.4, 1.6, 0.1)),
        (False, uneven(1.5, 1.6, 0.1))]),
    "PeerageSubKeyHeadDead": (20, [
        (True, heads(0.02, 0.9, 10000000)),
        (True, heads(0.9, 0.01, 10000000)),
        (False, heads(0.9, 0.8, 10000000)),
        (False, heads(0.02, 0.02, 1000))]),
    "PeerageHotExpertShareHigh": (20, [
        (True, hottest(0.04, 4096, 100000)),
        (False, hottest(0.02, 4096, 100000)),
        (False, hottest(0.04, 4, 100000)),
        (False, hottest(0.04, 4096, 10))]),
    "PeerageExpertStatsStale": (20, [
        (True, [server("peerage_expert_stats_timestamp_seconds", "60x30")]),
        (False, [server("peerage_expert_stats_timestamp_seconds", "1+60x30")]),
        (False, [server("peerage_expert_stats_timestamp_seconds", "0x30")])]),
}


def generate():
    lines = ["# Made by make_rules_test.py.", "rule_files: [rules.yml]", "evaluation_interval: 1m",
             "tests:"]
    for alert, (minute, loads) in CASES.items():
        for number, (fires, series) in enumerate(loads):
            lines += [f"  - name: {alert} {'fires' if fires else 'stays silent'} ({number})",
                      "    interval: 1m", "    input_series:"]
            for name, values in series:
                lines += [f"      - series: '{name}'", f"        values: '{values}'"]
            # As an expression: the labels and texts of what fires are no part of the question.
            lines += ["    promql_expr_test:",
                      f"      - expr: count(ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}})",
                      f"        eval_time: {minute}m"]
            lines += ["        exp_samples:", "          - value: 1"] if fires else \
                     ["        exp_samples: []"]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    path = HERE / "rules_test.yml"
    if not parser.parse_args().check:
        path.write_text(generate())
    elif path.read_text() != generate():
        sys.exit(f"{path} is not what make_rules_test.py writes")


if __name__ == "__main__":
    main()
