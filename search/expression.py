"""SQL expressions of the user's (`--where`, `--sort`): parsed by DuckDB, checked here, run where they can do no harm.

An expression may compare, calculate and look into texts, times and lists, and that is all: `FUNCTIONS` and `TYPES` name
what is allowed, everything else is refused before it runs. That keeps out files, tables, subqueries, other commands, and
also what would make gigabytes of a few characters, which DuckDB's memory limit does not see: `range(1000000000)` took
this machine's 23 GB. What runs is what DuckDB writes back from the parsed form that was checked, not the user's text.

The connection that runs it would refuse files, extensions and settings by itself; one thread, 512 MB, nothing on disk.
Making it costs 40 ms, an expression 1 ms, a batch of 10 000 rows 2 ms.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..extract.encoders.spec import nearest
from ..extract.errors import UsageError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_CHARACTERS = 10_000
CONFIG = {
    "enable_external_access": "false",  # no files, no network, no extensions from disk
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",  # a name is a column, never a variable of this program
    "ieee_floating_point_ops": "false",  # x / 0 is null, so it passes no comparison
    "disabled_optimizers": "filter_pushdown",  # DuckDB decides, not Arrow, which minds the case of names within structs
    "memory_limit": "512MB",
    "threads": "1",
    "temp_directory": "",
}
LATER_SETTINGS = {"error_on_division_by_zero": "false"}  # of DuckDB 2
CLASSES = frozenset("COLUMN_REF CONSTANT COMPARISON CONJUNCTION OPERATOR FUNCTION CAST CASE BETWEEN LAMBDA".split())
FUNCTIONS = frozenset(
    """
    + - * / // % ** ^ || ~~ !~~ ~~* !~~* ~~~ ~ like_escape ilike_escape not_like_escape not_ilike_escape
    abs ceil ceiling floor round trunc sign sqrt cbrt exp ln log log2 log10 pow power mod fmod greatest least
    isnan isinf isfinite sin cos tan atan atan2 pi
    lower upper lcase ucase len length strlen trim ltrim rtrim left right substr substring contains prefix suffix
    starts_with ends_with position strpos instr regexp_matches regexp_full_match regexp_extract split_part
    strip_accents parse_filename parse_dirname
    year month day hour minute second quarter week dayofweek isodow dayofyear date_part datepart date_trunc datetrunc
    date_diff datediff epoch make_date make_timestamp to_timestamp strptime try_strptime strftime now today current_date
    to_years to_months to_weeks to_days to_hours to_minutes to_seconds timezone
    list_value list_contains list_has array_contains array_has list_has_any list_has_all list_position list_filter
    list_transform list_apply list_max list_min list_sum list_avg list_any_value list_bool_or list_bool_and
    array_extract list_extract list_element struct_extract element_at row if ifnull nullif typeof
    """.split()
)
TYPES = frozenset(
    """BOOLEAN BOOL TINYINT SMALLINT INTEGER INT BIGINT HUGEINT FLOAT REAL DOUBLE DECIMAL NUMERIC VARCHAR TEXT STRING DATE
    TIME TIMESTAMP TIMESTAMPTZ INTERVAL""".split()
)
TYPES_OF_TWO_WORDS = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression.

    Attributes:
        text: as the user wrote it.    option: where it came from, for messages.    sql: as DuckDB writes it.
        names: the columns it names, each in its parts (`luma` -> ("luma",), `videos.fps` -> ("videos", "fps")).
    """

    text: str
    option: str
    sql: str
    names: tuple[tuple[str, ...], ...]

    def wrong(self, why: str) -> UsageError:
        """An error that names the option and the text."""
        return UsageError(f"{self.option} {_short(self.text)}: {why}")


def connect() -> "DuckDBPyConnection":
    """A DuckDB of its own, in memory, that can reach nothing but what is registered with it."""
    import duckdb

    connection = duckdb.connect(":memory:", config=dict(CONFIG))
    known = {name for (name,) in connection.execute("SELECT name FROM duckdb_settings()").fetchall()}
    for name, value in LATER_SETTINGS.items():
        if name in known:
            connection.execute(f"SET {name} = {value}")
    connection.execute("SET lock_configuration = true")
    return connection


def parse(connection: "DuckDBPyConnection", text: str, option: str) -> Expression:
    """One scalar expression over columns.

    Raises:
        UsageError: it is no expression, more than one, or does what is not allowed.
    """
    found = Expression(text, option, "", ())
    if not text.strip():
        raise found.wrong("expected an SQL expression over columns, for example 'luma > 40'.")
    if len(text) > MOST_CHARACTERS:
        raise found.wrong(f"it has {len(text)} characters; expected at most {MOST_CHARACTERS}.")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise found.wrong("it holds what is not a character of any text (a zero, or half of a pair).")
    try:
        tree = json.loads(_row(connection, "SELECT json_serialize_sql(?::VARCHAR)", f"SELECT {text}"))
        if tree["error"]:
            raise found.wrong(_why_not_parsed(tree))
        node = _only_expression(found, tree)
        names = tuple(dict.fromkeys(_checked(found, node, frozenset())))
        written = _row(connection, "SELECT json_deserialize_sql(?::JSON)", json.dumps(tree))
    except RecursionError:
        raise found.wrong("it is nested too deeply.") from None
    return Expression(text, option, str(written).removeprefix("SELECT "), names)


def one_line(error: Exception) -> str:
    """What DuckDB says, without the picture of where: its first line, or its first two where the second is a hint."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(line for line in lines[:2] if not line.startswith("LINE ")) or type(error).__name__


def _row(connection: "DuckDBPyConnection", sql: str, value: str) -> Any:
    import duckdb

    try:
        rows = connection.execute(sql, [value]).fetchall()
    except (duckdb.Error, UnicodeError) as error:
        raise UsageError(f"an SQL expression cannot be read: {one_line(error)}") from error
    return rows[0][0]


def _why_not_parsed(tree: dict[str, Any]) -> str:
    if tree.get("error_type") == "not implemented":  # another command, or several
        return "expected one expression that is true or false, got other SQL commands."
    said = " ".join(str(tree.get("error_message", "")).split())
    return f"not an SQL expression: {said}. Write for example 'luma > 40 AND duration_s < 600'."


def _only_expression(found: Expression, tree: dict[str, Any]) -> dict[str, Any]:
    """The node of the expression, if the command is `SELECT expression` and nothing else."""
    refused = found.wrong(
        "expected one expression and nothing else (no second command, alias, FROM, LIMIT or the like)."
    )
    if len(tree["statements"]) != 1:
        raise refused
    select = tree["statements"][0]["node"]
    if select.get("type") != "SELECT_NODE" or len(select["select_list"]) != 1 or select["select_list"][0]["alias"]:
        raise refused
    extra = [
        select.get(part) for part in ("where_clause", "having", "qualify", "sample", "modifiers", "group_expressions")
    ]
    if any(extra) or select["cte_map"].get("map") or select["from_table"]["type"] != "EMPTY":
        raise refused
    node: dict[str, Any] = select["select_list"][0]
    return node


def _checked(found: Expression, node: Any, bound: frozenset[str]) -> Iterator[tuple[str, ...]]:
    """The columns that a part of the tree names; raises UsageError for what is not allowed.

    Args:
        bound: lower-case names that a lambda has given a meaning; empty outside of one.
    """
    if isinstance(node, list):
        for child in node:
            yield from _checked(found, child, bound)
        return
    if not isinstance(node, dict):
        return
    kind = node.get("class")
    if kind is not None and kind not in CLASSES:
        raise found.wrong(f"{_what_is(kind)} is not allowed here; compare columns with values.")
    if kind == "COLUMN_REF":
        if node["column_names"][0].lower() not in bound:
            yield tuple(node["column_names"])
    elif kind == "LAMBDA":
        if bound:
            raise found.wrong("a lambda inside a lambda is not allowed.")
        names = {name[0].lower() for name in _checked(found, node["lhs"], frozenset())}
        yield from _checked(found, node["expr"], bound | names)
    else:
        if kind == "FUNCTION":
            _require_function(found, node)
            _require_list_of_a_column(found, node)
        elif kind == "CAST":
            _require_type(found, node)
        for key, child in node.items():
            if key not in ("type_expr", "cast_type"):
                yield from _checked(found, child, bound)


def _require_function(found: Expression, node: dict[str, Any]) -> None:
    name = node["function_name"].lower()
    if name not in FUNCTIONS or node.get("schema") or node.get("catalog") or node.get("filter") or node.get("distinct"):
        words = [known for known in FUNCTIONS if known[0].isalpha() and name not in FUNCTIONS]
        raise found.wrong(
            f"the function {name!r} is not allowed here.{nearest(name, words)} Allowed are comparisons, arithmetic, LIKE, IN, "
            "BETWEEN, CASE, and functions of numbers, texts, times and lists such as abs, lower, contains, year, list_filter."
        )


def _require_list_of_a_column(found: Expression, node: dict[str, Any]) -> None:
    """A lambda over a list that is written out would make lists as long as the text squared, in every row."""
    arguments = node.get("children") or [argument["expression"] for argument in node.get("arguments", [])]
    if any(argument["class"] == "LAMBDA" for argument in arguments) and arguments[0]["class"] != "COLUMN_REF":
        raise found.wrong("a lambda is allowed over a column only, for example list_filter(labels, lambda l: ...).")


def _require_type(found: Expression, node: dict[str, Any]) -> None:
    """Arrays of a length, for one, would make gigabytes of a null. DuckDB 1 says `cast_type`, DuckDB 2 `type_expr`."""
    name = (node.get("type_expr") or {}).get("type_name") or (node.get("cast_type") or {}).get("id") or "?"
    plain = TYPES_OF_TWO_WORDS.get(name.upper(), name.upper())
    if plain not in TYPES:
        raise found.wrong(
            f"a cast to {name} is not allowed here; plain types such as INTEGER, DOUBLE, VARCHAR, DATE are."
        )


def _what_is(kind: str) -> str:
    names = {
        "SUBQUERY": "a subquery (also behind ANY)",
        "STAR": "*",
        "PARAMETER": "a parameter",
        "WINDOW": "a window function",
    }
    return names.get(kind, kind.lower().replace("_", " "))


def _short(text: str) -> str:
    shown = " ".join(text.split())
    return repr(shown if len(shown) <= 120 else shown[:117] + "...")
