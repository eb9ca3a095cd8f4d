"""`noria ingest`: events of the project's stream become spans."""

from typing import Annotated, Any

import typer

from noria.pipeline.cli import console
from noria.pipeline.cli.options import PROJECT, ConfigFile, Json


def ingest(
    config: ConfigFile = PROJECT,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", help="Keep reading until SIGTERM or Ctrl-C. Default: until all events are read."
        ),
    ] = False,
    flush: Annotated[
        bool,
        typer.Option("--flush", help="At the end, commit the open spans too; their later events are late."),
    ] = False,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss", help="Continue although the stream has lost events, and record which ones."
        ),
    ] = False,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Serve /metrics, /healthz and /readyz at this address, such as :9464 or 127.0.0.1:9464."
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Read new events from the stream and write them to spans, each event once."""
    import dataclasses
    import signal
    import threading

    from noria.pipeline.config import load
    from noria.pipeline.runs.project_stream import ingester

    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    show = Printer(as_json, follow)
    work = ingester(load(config), show)
    with serving(metrics, work, show):
        report = work.run(follow=follow, flush=flush, accept_loss=accept_loss, stop=stop)
    if as_json and not follow:
        console.emit({**dataclasses.asdict(report), "lag": work.lag(), "positions": work.state.next})
    elif not as_json:
        lag = sum(work.lag().values())
        out = console.out()
        late = f", {report.late_rows:,} of them late" if report.late_rows else ""
        repeated = f"; {report.repeated:,} events were there already" if report.repeated else ""
        out.print(
            f"[green]✓[/] {report.rows:,} events in {len(report.spans)} new spans{late}{repeated}; lag {lag:,}"
        )
        counts = work.state.counts
        if counts.get("dead"):
            out.print(
                f"{counts['dead']:,} dead letters since the beginning; `noria deadletter list` shows them"
            )
    return console.OK


class Printer:
    """Shows what happens: on standard error for people, one JSON object a line on standard output with --follow."""

    def __init__(self, as_json: bool, follow: bool):
        self.as_json = as_json
        self.follow = follow
        self.listeners: list[Any] = []

    def __call__(self, record: dict[str, Any]) -> None:
        import datetime

        for listener in self.listeners:
            listener(record)
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        if self.as_json:
            if self.follow:
                console.emit({"time": now, **record}, line=True)
            return
        fields = ", ".join(
            f"{name} {round(value, 1) if isinstance(value, float) else value}"
            for name, value in record.items()
            if name != "event" and value != []
        )
        console.err().print(f"[dim]{now}[/] {record['event']}  {fields}", soft_wrap=True, markup=True)


def serving(address: str | None, work: Any, show: Printer) -> Any:
    """Serves the metrics while the ingester works."""
    import contextlib

    if address is None:
        return contextlib.nullcontext()
    from noria.ingestion.segments.monitoring_server import MonitoringServer

    service = MonitoringServer(address, work)
    show.listeners.append(service.observe)
    return service
