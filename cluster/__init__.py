"""Many models on many machines: each is judged by the ordinary suite in a Ray task, and its run is brought home."""
