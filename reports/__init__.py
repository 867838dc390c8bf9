"""Reports: what was measured, kept, summarised and shown. Nothing here imports torch."""
