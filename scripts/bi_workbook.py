#!/usr/bin/env python3
"""Write the Tableau workbook for a database, and print its path.

    python scripts/bi_workbook.py --dsn postgresql://tableau@db.example.org:5433/emostream --out emostream.twb

The workbook connects to the server, port, database and user of the DSN; without --dsn of EMOSTREAM_POSTGRES_DSN. It
holds no password, so Tableau asks for it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

try:
    from streams.cli import report
    from streams.errors import USER_ERRORS
    from streams.ops.bi.workbook import write_workbook
    from streams.settings import load_settings
except ModuleNotFoundError as missing:
    sys.exit(f"error: {missing.name} is not installed; run make setup, and use .venv/bin/python")


def main() -> None:
    """Write the workbook, and print its path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dsn", help="address of the database (default: the setting EMOSTREAM_POSTGRES_DSN)")
    parser.add_argument("--out", type=Path, default=Path("emostream.twb"), help="the file (default: %(default)s)")
    options = parser.parse_args()
    try:
        write_workbook(options.dsn or load_settings().postgres_dsn.get_secret_value(), options.out)
    except USER_ERRORS as exc:
        report(exc)
        sys.exit(1)
    except OSError as exc:
        sys.exit(f"error: {options.out} cannot be written: {exc.strerror}")
    print(options.out)


if __name__ == "__main__":
    main()
