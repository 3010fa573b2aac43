"""Lets Python's garbage collector run less often, in processes that make and free objects in batches."""

from __future__ import annotations

import gc


def collect_less_often(*thresholds: int) -> None:
    """Exclude the objects that exist now from garbage collection, and let the collector run less often.

    Call it when the libraries are loaded. They are some hundred thousand objects that are never freed, and to examine
    them again and again takes two percent of a core. The objects of a batch are freed when it is done, and are hardly
    ever in a cycle. With Python's own thresholds the collector examines them repeatedly, which costs up to a tenth of
    the rate.

    Args:
        thresholds: see `gc.set_threshold`; the first one should be above the number of objects in a batch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*thresholds)
