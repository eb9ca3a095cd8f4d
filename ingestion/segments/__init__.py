"""Segments: runs of contiguous positions of a stream, committed once, before they are cut into spans.

decoding.Decoder             messages -> typed rows and dead letters
store.SegmentStore           commits a segment if nobody else has stored these positions
watermark.Clock              how far the events of a partition have come
span_commits.commit_spans    closed segments -> spans
ingester.Ingester            the loop from a stream to spans
letters                      the dead letters of a stream: list, show, replay
monitoring_server            metrics and health of an ingester over HTTP
"""
