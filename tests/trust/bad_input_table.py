"""Write the tables of "Bad input" in the user guide: python tests/trust/bad_input_table.py."""

import argparse
from pathlib import Path

from bad_input.table import DIRECTORY, write

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=DIRECTORY, help="directory of the CSV files")
    write(parser.parse_args().output)
