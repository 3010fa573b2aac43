#!/usr/bin/env python3
"""Draw what the Tableau workbook shows, from the same views: two PNG files.

    python scripts/bi_charts.py --dsn postgresql://tableau@localhost:5432/emostream --out charts

emotion_share.png is the stacked bar of emotions by keyword, confidence_scatter.png the scatter of confidence against
share with the outliers named; both are of the last seven days of data. The role tableau suffices. A password may
stand in the DSN, in the variable PGPASSWORD, or in ~/.pgpass.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

try:
    from connectors.errors import ConnectorError
    from streams.ops.bi.queries import read_chart_data
    from streams.ops.bi.scatter_chart import draw_scatter
    from streams.ops.bi.share_chart import draw_shares
except ModuleNotFoundError as missing:
    sys.exit(f"error: {missing.name} is missing; it comes with pip install 'emostream[bench]'")

DSN = "postgresql://tableau@localhost:5432/emostream"


def main() -> None:
    """Draw both charts, and print where they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn", default=DSN, help="address of the database (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the files (default: this one)")
    options = parser.parse_args()
    share, scatter = options.out / "emotion_share.png", options.out / "confidence_scatter.png"
    try:
        data = read_chart_data(options.dsn)
        draw_shares(data.shares, share, subtitle=f"the seven days to {data.until}, from bi.emotion_share")
        draw_scatter(data.points, scatter, subtitle=f"the seven days to {data.until}, from bi.confidence_scatter")
    except (ConnectorError, OSError) as exc:
        sys.exit(f"error: {exc}")
    print(share)
    print(scatter)


if __name__ == "__main__":
    main()
