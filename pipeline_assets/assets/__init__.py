"""The datasets as Dagster assets: each fetches, computes and stores; bookkeeping is the edge's."""
