"""What gpu_check.py prints, and the tables of docs/gpu.md."""


def summary(outcome):
    """One line about a step."""
    line = f"   {outcome['status']} in {outcome['seconds']} s"
    if "cases" in outcome:
        line += f": {sum(case['passed'] for case in outcome['cases'].values())} cases"
    if outcome.get("why"):
        line += f": {outcome['why']}"
    for what, why in outcome.get("not_run", {}).items():
        line += f"\n   not run: {what}: {why}"
    return line


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def step_table(steps):
    rows = []
    for name, step in steps.items():
        detail = step.get("why", "").splitlines()[:1]
        if "cases" in step:
            detail = [f"{sum(case['passed'] for case in step['cases'].values())} cases of "
                      f"{len(step['cases'])} programs"]
        if step.get("not_run"):
            detail = [*detail, f"not run: {', '.join(step['not_run'])}"]
        rows.append((name, step["status"], f"{step['seconds']:.0f} s", "; ".join(detail)))
    return table(("step", "status", "time", ""), rows)


def kernel_table(step):
    rows = [(k["kernel"], k["rows"], f"{k['microseconds']:.1f}", f"{k['bytes'] / 2**20:.2f}",
             f"{100 * k['share_of_copy_rate']:.0f} %",
             f"{k['flops_per_second'] / 1e12:.1f}" if "flops_per_second" in k else "")
            for k in step["kernels"]]
    rate = f"The device copies {step['copy_bytes_per_second'] / 1e9:.0f} GB/s (read and written).\n\n"
    return rate + table(("kernel", "rows", "us", "MiB", "of the copy rate", "TFLOP/s"), rows)


def model_table(models):
    batches = next(iter(models.values()))["decode_of_batch"]
    batches = sorted(batches, key=int)
    rows = [(kind, f"{m['weights_bytes'] / 2**30:.1f}", f"{m['prefill_tokens_per_second']:.0f}",
             *(f"{m['decode_of_batch'][b]:.0f}" for b in batches)) for kind, m in models.items()]
    return table(("model", "weights, GiB", "prefill", *(f"batch {b}" for b in batches)), rows)


def answer_table(answers):
    return table(("model", "prompts", "equal to the CPU's in f32", "in bf16"),
                 [(f"{kind} ({a['model']})", a["prompts"], a["equal_f32"], a["equal_bf16"])
                  for kind, a in answers.items()])


def layer_table(layers):
    return table(("PyTorch", "rows", "us"),
                 [(layer["layer"], layer["rows"], f"{layer['microseconds']:.1f}"
                   if "microseconds" in layer else f"not run: {layer['why']}") for layer in layers])


# Step, what of it a table shows, title, table. What a step found is shown, failed or not.
SECTIONS = (("kernels", "kernels", "Kernels", kernel_table),
            ("models", "models", "Tokens a second", lambda step: model_table(step["models"])),
            ("answers", "answers", "Answers", lambda step: answer_table(step["answers"])),
            ("PyTorch", "layers", "PyTorch on the same card", lambda step: layer_table(step["layers"])))


def tables(result):
    if not result["steps"]:
        return f"Not run: {result['why']}.\n" if "why" in result else ""
    machine = ", ".join(str(value) for value in result["machine"].values())
    text = f"{machine}.\n\n"
    if result["rehearsal"]:
        text = "**A rehearsal on the stand-in with tiny shapes: it says nothing about a GPU.**\n\n" + text
    text += step_table(result["steps"])
    for name, found, title, section in SECTIONS:
        step = result["steps"].get(name, {})
        if step.get(found):
            text += f"\n### {title}\n\n{section(step)}"
    return text
