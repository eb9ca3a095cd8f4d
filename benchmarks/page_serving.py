"""The sections of docs/performance.md about the server."""

from typing import Any

GOALS = {"rest": 8, "grpc": 5}


def serving(result: dict[str, Any]) -> list[str]:
    """Throughput, latency, swaps, memory and a killed process."""
    lines = [
        "Single rows of half_plus_two; clients and server share two cores. KServe's Python server has the same "
        f"SavedModel, and runs before. The bare session call takes {result['bare_call_ms']:.2f} ms.",
        "",
        "| server | protocol | clients | requests a second | p50, ms | p99, ms | failed or mixed |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for server, prefix in (("Noria", ""), ("KServe", "kserve_")):
        for protocol, title in (("rest", "REST"), ("grpc", "gRPC")):
            for clients in (1, 8):
                found = result.get(f"{prefix}{protocol}_{clients}")
                if found:
                    lines.append(
                        f"| {server} | {title} | {clients} | {found['per_second']:,.0f} | {found['p50_ms']:.2f} | "
                        f"{found['p99_ms']:.2f} | {found['failed'] + found['mixed']} |"
                    )
    if "kserve_rest_8" in result:
        ratios = [
            f"{title} {result[f'{name}_8']['per_second'] / result[f'kserve_{name}_8']['per_second']:.1f} times "
            f"(goal {GOALS[name]})"
            for name, title in (("rest", "REST"), ("grpc", "gRPC"))
        ]
        lines += ["", f"With 8 clients, against KServe: {', '.join(ratios)}."]
    costs = [
        f"by {title} {', '.join(f'{part} {taken:.0f}' for part, taken in result[f'{name}_8']['cpu_us'].items())}"
        for name, title in (("rest", "REST"), ("grpc", "gRPC"))
        if "cpu_us" in result.get(f"{name}_8", {})
    ]
    if costs:
        lines += ["", f"With 8 clients, a request takes, in µs of a processor: {'; '.join(costs)}."]
    lines += [
        "",
        "| 50 swaps under 8 clients | only weights change | another graph |",
        "| --- | --- | --- |",
    ]
    pair = result["swap_weights"], result["swap_graph"]
    for key, title, form in (
        ("answers", "answers", ",.0f"),
        ("failed", "failed", "d"),
        ("mixed", "of two versions", "d"),
        ("steady_p99_ms", "p99 between swaps, ms", ".1f"),
        ("swap_p99_ms", "p99 during a swap, ms", ".1f"),
        ("rename_to_traffic_median_s", "from the rename to traffic, s: median", ".2f"),
        ("rename_to_traffic_max_s", "from the rename to traffic, s: largest", ".2f"),
    ):
        lines.append(f"| {title} | {' | '.join(format(each[key], form) for each in pair)} |")
    memory = [each for part in pair for each in part["memory_mb"]]
    killed = result["kill"]
    return [
        *lines,
        "",
        f"A version takes {result['version_own_mb']:.0f} MB; the server and its processes take "
        f"{min(memory)} to {max(memory)} MB over the swaps. After a SIGKILL of the model process {killed['failed']} of "
        f"{killed['answers']:,} requests failed, and the longest time without an answer was "
        f"{killed['longest_silence_s']:.2f} s.",
    ]


def rollouts(result: dict[str, Any]) -> list[str]:
    """What canaries with a fault cost until they are rolled back."""
    lines = [
        f"A simulation with the server's code and defaults, {result['per_second']:.0f} requests a second.",
        "",
        "| the canary | canaries | rolled back | its requests until then: median, 95 % | seconds: median, 95 % |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, found in result.items():
        if not isinstance(found, dict) or "canaries" not in found:
            continue
        cells = ["", ""]
        if found["rolled_back"]:
            cells = [
                f"{found['requests_median']:,}, {found['requests_p95']:,}",
                f"{found['seconds_median']:.1f}, {found['seconds_p95']:.1f}",
            ]
        lines.append(f"| {name} | {found['canaries']} | {found['rolled_back']} | {' | '.join(cells)} |")
    return lines


def fuzz(result: dict[str, Any]) -> list[str]:
    """Changed requests and bad connections."""
    return [
        f"{result['inputs']:,} changed requests and {result['connections']:,} bad connections: "
        f"{len(result['findings'])} findings. The slowest took {result['slowest_s']:.1f} s of a processor, "
        f"and the memory grew by {result['growth_mb']:.1f} MB.",
        "",
        "| answer | requests |",
        "| --- | --- |",
        *(f"| {answer} | {count:,} |" for answer, count in sorted(result["answers"].items())),
    ]
