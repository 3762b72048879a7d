"""Translates the compilers' DuckDB SQL to Spark's dialect. Pure; uses sqlglot, with extra rules for our queries."""

from __future__ import annotations

import re
from typing import Any

import sqlglot
from sqlglot import expressions as exp

_LEN = re.compile(r"\blen\(")


def to_spark(sql: str) -> str:
    """
    Return a query for Spark 4 in ANSI mode that gives the same rows.

    In our queries, ``len`` applies to lists, an index may be beyond the end, ``flatten`` skips NULL lists, and a cast
    of a text that is no date gives NULL.
    """
    return _written(_parsed(sql))


def steps(sql: str) -> tuple[list[tuple[str, str]], str]:
    """
    Return the relations of a question's ``WITH``, in order with their names, and the query that reads them.

    Spark expands each relation at every use, and a question uses them hundreds of times: so they run one by one.
    """
    tree = _parsed(sql)
    relations = [(str(relation.alias), _written(relation.this)) for relation in tree.ctes]
    clause = tree.find(exp.With)
    if relations and clause is not None and clause.parent is tree:
        clause.pop()
    return relations, _written(tree)


def _parsed(sql: str) -> Any:
    return sqlglot.parse_one(_LEN.sub("array_length(", sql), read="duckdb").transform(_spoken)


def _written(tree: Any) -> str:
    return str(tree.sql(dialect="spark"))


def _spoken(node: Any) -> Any:
    if isinstance(node, exp.Bracket) and len(node.expressions) == 1:
        index = node.expressions[0]
        if isinstance(index, exp.Literal) and not index.is_string:
            # The parser counts from 0, Spark's function from 1; beyond the end both give NULL.
            number = exp.Literal.number(int(index.this) + 1)
            return exp.Anonymous(this="try_element_at", expressions=[node.this, number])
    if isinstance(node, exp.Flatten):
        item = exp.to_identifier("sub_list")
        whole = exp.Lambda(this=exp.Not(this=exp.Is(this=exp.column(item), expression=exp.Null())), expressions=[item])
        return exp.Anonymous(this="flatten", expressions=[exp.Anonymous(this="filter", expressions=[node.this, whole])])
    if isinstance(node, exp.Anonymous) and str(node.this).lower() == "error":
        return exp.Anonymous(this="raise_error", expressions=node.expressions)
    return node
