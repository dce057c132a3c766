"""The condition that a bound session puts beside every statement, for each hierarchy of mapped classes.

SQLAlchemy puts it where the rows come from: into WHERE, and into ON where they are joined. It stands in the cache key
of the statement with its parameters, so that one principal's values are never used for another.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapper
from sqlalchemy.orm.util import LoaderCriteriaOption
from sqlalchemy.sql.elements import Grouping
from sqlalchemy.sql.visitors import InternalTraversal

from limen.authz.compilers.sql.rows import Trusted


class Visible(Trusted):
    """Marks the condition for rows of one table, so that it can be found which tables have one.

    Attributes:
        row: a column of the table.
    """

    __visit_name__ = "grouping"
    _traverse_internals = [  # noqa: RUF012 - the base declares it so
        *Grouping._traverse_internals,
        ("row", InternalTraversal.dp_clauseelement),
    ]
    inherit_cache = True

    def __init__(self, condition: Any, row: Any) -> None:
        super().__init__(condition)
        self.row = row


class Criterion(LoaderCriteriaOption):
    """Filters every row of a hierarchy of classes.

    Args:
        root: the class at the root.
        condition: what must be true of a row, about that class.
    """

    # Part of the statement's cache key, as the class it extends is.
    _traverse_internals = LoaderCriteriaOption._traverse_internals

    def __init__(self, root: Mapper[Any], condition: sa.ColumnElement[bool]) -> None:
        column = sa.inspect(root.class_).primary_key[0]
        row = getattr(root.class_, root.get_property_by_column(column).key).expression
        # Lazy loads later on are statements of their own; a joined load takes from its statement what is passed on.
        super().__init__(root.class_, Visible(condition, row), include_aliases=True, propagate_to_loaders=True)

    def _resolve_where_criteria(self, ext_info: Any) -> sa.ColumnElement[bool]:
        """Return the condition about a class or an alias.

        SQLAlchemy would join an alias with a condition about the class, which is about other rows.
        """
        condition: sa.ColumnElement[bool] = super()._resolve_where_criteria(ext_info)
        return ext_info._adapter.traverse(condition) if ext_info.is_aliased_class else condition
