"""`flagstream sql` against a lake that another program wrote: right answers, and no way out of the sandbox."""
import datetime
import json
import pathlib
import subprocess

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from harness import BINARY, temporary_folder

ROWS = 2000
ONE_STATEMENT = "only one SELECT statement can be run"
NO_FILES = "file system operations are disabled by configuration"


def events(first, count):
    at = 1_795_600_000_000_000
    return pa.table({
        "date": pa.array([datetime.date(2026, 11, 25)] * count),
        "received_at": pa.array([at + n for n in range(first, first + count)], pa.timestamp("us", "UTC")),
        "kind": ["summary"] * count,
        "key": [f"flag-{n % 10}" for n in range(first, first + count)],
        "count": pa.array(range(first, first + count), pa.int64()),
    })


@pytest.fixture(scope="module")
def data():
    with temporary_folder() as folder:
        table = str(folder / "lake/events")
        write_deltalake(table, events(0, ROWS), partition_by=["date"])
        write_deltalake(table, events(ROWS, ROWS), mode="append")
        write_deltalake(table, events(0, 1), mode="append")
        DeltaTable(table).delete("count = 0 AND key = 'flag-0'")  # rewrites files: the old ones are no longer of the table
        (folder / "secret.csv").write_text("a\nsecret\n")
        yield folder


def sql(data, query, *options, timeout=60):
    return subprocess.run([str(BINARY), "sql", "--data", str(data), *options, query], capture_output=True, text=True,
                          timeout=timeout)


def rows(data, query):
    done = sql(data, query, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["rows"]


def everything_below(folder):
    return {str(path): path.stat().st_size for path in sorted(pathlib.Path(folder).rglob("*"))}


def test_the_current_version_is_read_and_nothing_older(data):
    table = DeltaTable(str(data / "lake/events")).to_pyarrow_table()
    assert table.num_rows == 2 * ROWS - 1
    total = sum(table["count"].to_pylist())
    assert rows(data, "SELECT count(*), sum(count)::BIGINT, min(count) FROM events") == [[table.num_rows, total, 1]]


def test_columns_that_the_writer_left_out_are_null(data):
    assert rows(data, "SELECT DISTINCT environment_key, variation, date FROM events") == [[None, None, "2026-11-25"]]


def test_people_get_a_table_and_no_terminal_commands(data):
    done = sql(data, "SELECT key, count(*) AS n, chr(27) || '[31m' || chr(155) AS e FROM events GROUP BY key ORDER BY key LIMIT 2")
    assert done.stdout == ("key     n    e\n"
                           "------  ---  ----------------\n"
                           "flag-0  399  \\u001b[31m\\u009b\n"
                           "flag-1  400  \\u001b[31m\\u009b\n"
                           "(2 rows)\n")


def test_a_data_folder_without_a_lake_has_an_empty_table():
    with temporary_folder() as folder:
        assert rows(folder, "SELECT count(*) FROM events") == [[0]]
        assert everything_below(folder) == {}


@pytest.mark.parametrize("query, sentence", [
    ("SELECT * FROM read_text('/etc/passwd')", NO_FILES),
    ("SELECT * FROM '{data}/secret.csv'", NO_FILES),
    ("SELECT * FROM read_csv('{data}/lake/events/../../secret.csv')", NO_FILES),
    ("SELECT * FROM read_parquet('{data}/lake/events/*/*.parquet')", NO_FILES),
    ("SELECT * FROM read_text('{data}/lake/events/_delta_log/00000000000000000000.json')", NO_FILES),
    ("SELECT * FROM glob('{data}/*')", NO_FILES),
    ("SELECT * FROM read_blob('/proc/self/environ')", NO_FILES),
    ("SELECT * FROM read_parquet('http://127.0.0.1:1/x')", NO_FILES),
    ("ATTACH '{data}/x.db'", ONE_STATEMENT),
    ("COPY (SELECT 1) TO '{data}/lake/events/x.parquet'", ONE_STATEMENT),
    ("COPY (SELECT 1) TO '/dev/stdout'", ONE_STATEMENT),
    ("EXPLAIN ANALYZE COPY (SELECT 1) TO '{data}/x'", ONE_STATEMENT),
    ("INSTALL httpfs", ONE_STATEMENT),
    ("LOAD httpfs", ONE_STATEMENT),
    ("SET memory_limit = '100GB'", ONE_STATEMENT),
    ("RESET lock_configuration", ONE_STATEMENT),
    ("SELECT 1; SELECT 2", ONE_STATEMENT),
    ("SELECT 1; DROP VIEW events", ONE_STATEMENT),
    ("PRAGMA database_list", ONE_STATEMENT),
    ("/* /* */ SELECT */ PRAGMA version", ONE_STATEMENT),
    ("EXPORT DATABASE '{data}/x'", ONE_STATEMENT),
    ("CALL pragma_version()", ONE_STATEMENT),
    ("DROP VIEW events", ONE_STATEMENT),
    ("SELECT getenv('HOME')", "getenv"),
])
def test_a_way_out_is_refused_and_leaves_no_trace(data, query, sentence):
    before = everything_below(data)
    done = sql(data, query.format(data=data))
    assert done.returncode == 1
    assert sentence in done.stderr
    assert done.stdout == ""
    assert everything_below(data) == before


def test_a_huge_result_is_cut_off_and_says_so(data):
    answer = json.loads(sql(data, "SELECT * FROM range(10000000000)", "-o", "json").stdout)
    assert answer["truncated"] and len(answer["rows"]) == 1000
    wide = sql(data, "SELECT repeat('x', 100000) FROM range(1000)", "-o", "json", "--bytes-max", "1MiB").stdout
    assert json.loads(wide)["truncated"] and len(wide) <= (1 << 20) + 100
    assert "(1 row, and more" in sql(data, "SELECT * FROM range(2)", "--rows-max", "1").stdout


@pytest.mark.parametrize("query, sentence", [
    ("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r", "ran longer than 1000 ms"),
    ("SELECT length(repeat('x', 4000000000))", "Out of Memory"),
    ("SELECT list(i) FROM range(1000000000) t(i)", "Out of Memory"),
])
def test_a_query_without_measure_is_ended(data, query, sentence):
    done = sql(data, query, "--timeout", "1s" if "ran longer" in sentence else "60s")
    assert done.returncode == 1
    assert sentence in done.stderr
