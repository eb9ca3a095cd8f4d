"""The bench of the data gate's rates, on one stream."""

import pytest

from benchmarks import gate_rates
from benchmarks.gate_faults import FAULTS
from benchmarks.gate_streams import STREAMS


@pytest.mark.slow
def test_faults_are_named_and_ordinary_spans_pass():
    """A small stream with every fault in one span: no ordinary span is broken, nine faults of ten are named."""
    rows = gate_rates.run(STREAMS[0], 7, 9, [12])
    ordinary = [row for row in rows if not row.fault]
    assert 9 == len(ordinary) and "broken" not in {row.verdict for row in ordinary}
    spoilt = [row for row in rows if row.fault]
    assert len(spoilt) > 15 and sum(row.named for row in spoilt) >= 0.9 * len(spoilt)
    assert "| all | 9 |" in gate_rates.tables(rows)


def test_streams_are_the_same_again():
    """A stream's span is a function of seed and number, and each fault has another name."""
    for stream in STREAMS:
        assert stream.span(1, 5).equals(stream.span(1, 5))
        assert stream.number in stream.span(1, 5).column_names
    assert len(FAULTS) == len({fault.name for fault in FAULTS})
