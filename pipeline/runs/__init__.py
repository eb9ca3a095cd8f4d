"""Runs of the pipeline: ingestion before them, one span's pass through the pipeline, the report after it.

run.run_pending, run.retrain   runs on the spans that wait
replay.replay                  runs on the past again, in another home
ingest.ingest                  makes spans of new events
recorder.RunRecorder           ends a run, with any outcome and on any runner
overview.read                  what the stores hold: spans, versions, runs
lineage.digest                 what makes a model besides its data
"""
