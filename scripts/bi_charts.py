#!/usr/bin/env python3
"""Draw the charts of the Tableau workbook from the same views, as two PNG files, and print their paths.

    python scripts/bi_charts.py --dsn postgresql://tableau@localhost:5432/emostream --out charts

emotion_share.png has a bar for each keyword, divided into emotions. confidence_scatter.png shows the confidence of the
model against the share of each emotion, with the outliers named. Both are of the last seven days of data. Without --dsn
the script reads the database of EMOSTREAM_POSTGRES_DSN. The role tableau has all the rights that it needs. Give a
password in the DSN, in PGPASSWORD or in ~/.pgpass.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

try:
    from streams.cli import report
    from streams.errors import USER_ERRORS
    from streams.ops.bi.queries import read_chart_data
    from streams.ops.bi.scatter_chart import draw_scatter
    from streams.ops.bi.share_chart import draw_shares
    from streams.settings import load_settings
except ModuleNotFoundError as missing:
    sys.exit(f"error: {missing.name} is not installed; run make setup, and use .venv/bin/python")


def main() -> None:
    """Draw both charts, and print their paths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn", help="address of the database (default: the setting EMOSTREAM_POSTGRES_DSN)")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the files (default: the current folder)")
    options = parser.parse_args()
    share, scatter = options.out / "emotion_share.png", options.out / "confidence_scatter.png"
    try:
        data = read_chart_data(options.dsn or load_settings().postgres_dsn.get_secret_value())
        draw_shares(data.shares, share, subtitle=f"the seven days to {data.until}, from bi.emotion_share")
        draw_scatter(data.points, scatter, subtitle=f"the seven days to {data.until}, from bi.confidence_scatter")
    except USER_ERRORS as exc:
        report(exc)
        sys.exit(1)
    except OSError as exc:
        sys.exit(f"error: the charts cannot be written to {options.out}: {exc.strerror}")
    print(share)
    print(scatter)


if __name__ == "__main__":
    main()
