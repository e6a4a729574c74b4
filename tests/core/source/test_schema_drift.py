"""What becomes of an Iceberg table when columns change in ClickHouse, and what an operator reads when nothing may."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload_core.config.tables import SchemaContract, TableConfig
from offload_core.errors import FixColumn
from offload_core.source.projection import Column
from offload_core.source.schema_drift import (
    AddColumn,
    IcebergField,
    MakeOptional,
    WidenColumn,
    complete_name_mapping,
    mapped_names,
    plan_changes,
)

TABLE = TableConfig(source="trades", target="cold.trades", layer="bronze", timestamp_col="at", keys=("id",))
EVOLVE, FREEZE = SchemaContract.EVOLVE, SchemaContract.FREEZE


def hot(**types: str) -> list[Column]:
    """A projection; a type that ends with `?` may be NULL."""
    return [
        Column(name, f"`{name}`", kind.rstrip("?"), required=not kind.endswith("?")) for name, kind in types.items()
    ]


def cold(**types: str) -> list[IcebergField]:
    """An Iceberg table; a type that ends with `?` is optional, one that ends with `!` identifies rows."""
    return [
        IcebergField(name, kind.rstrip("?!"), required=not kind.endswith("?"), identifier=kind.endswith("!"))
        for name, kind in types.items()
    ]


def plan(columns: list[Column], fields: list[IcebergField], contract: SchemaContract = EVOLVE, retired=()):
    return plan_changes(TABLE, columns, fields, contract, retired)


def refusal(columns: list[Column], fields: list[IcebergField], contract: SchemaContract = EVOLVE, retired=()) -> str:
    """What the operator reads."""
    with pytest.raises(FixColumn) as caught:
        plan(columns, fields, contract, retired)
    return str(caught.value)


class TestWhatIsFollowed:
    def test_a_column_that_clickhouse_added_is_added_as_an_optional_one(self):
        assert plan(hot(a="int", b="decimal(38, 8)"), cold(a="int")) == [AddColumn("b", "decimal(38, 8)")]

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("int", "long"),
            ("float", "double"),
            ("decimal(9, 4)", "decimal(18, 4)"),
            ("decimal(37, 0)", "decimal(38, 0)"),
        ],
    )
    def test_a_type_is_widened_where_iceberg_allows_it(self, before, after):
        assert plan(hot(a=after), cold(a=before)) == [WidenColumn("a", before, after)]

    def test_a_column_that_became_nullable_becomes_optional(self):
        assert plan(hot(a="int?"), cold(a="int")) == [MakeOptional("a")]

    def test_a_column_can_become_wider_and_nullable_at_once(self):
        assert plan(hot(a="long?"), cold(a="int")) == [WidenColumn("a", "int", "long"), MakeOptional("a")]

    def test_a_column_that_is_no_longer_nullable_stays_optional(self):
        assert plan(hot(a="int"), cold(a="int?")) == []
        assert plan(hot(a="int"), cold(a="int?"), FREEZE) == []

    @given(st.permutations(["a", "b", "c", "d"]), st.sampled_from(SchemaContract))
    def test_the_order_of_columns_means_nothing(self, names, contract):
        columns = hot(**{name: "int" for name in names})

        assert plan(columns, cold(a="int", b="int", c="int", d="int"), contract) == []

    def test_a_change_says_what_it_did(self):
        changes = plan(hot(a="long?", b="decimal(38, 8)"), cold(a="int"))

        assert [str(change) for change in changes] == [
            "Column a widened from int to long",
            "Column a made optional",
            "Column b added as decimal(38, 8)",
        ]


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("long", "int"),
            ("double", "float"),
            ("decimal(18, 4)", "decimal(9, 4)"),
            ("decimal(18, 4)", "decimal(20, 6)"),
            ("decimal(18, 4)", "decimal(18, 2)"),
            ("int", "double"),
            ("int", "string"),
            ("long", "decimal(20, 0)"),
            ("date", "timestamptz"),
            ("fixed[3]", "fixed[4]"),
        ],
    )
    @pytest.mark.parametrize("contract", SchemaContract)
    def test_any_other_type_is_an_error_that_names_the_column_and_both_types(self, before, after, contract):
        message = refusal(hot(price=after), cold(price=before), contract)

        assert "'price'" in message
        assert f"is {before} in Iceberg" in message
        assert f"needs {after}" in message

    @pytest.mark.parametrize("contract", SchemaContract)
    def test_a_dropped_column_is_an_error_that_names_it(self, contract):
        message = refusal(hot(a="int"), cold(a="int", b="string?"), contract)

        assert "'b' of Iceberg's cold.trades is gone from trades" in message
        assert "rename" not in message
        assert "DROP COLUMN b" in message

    @pytest.mark.parametrize("contract", SchemaContract)
    def test_a_renamed_column_is_an_error_that_names_both_and_the_way_out(self, contract):
        message = refusal(hot(a="int", side_2="string?"), cold(a="int", side="string?"), contract)

        assert "looks as if it was renamed to 'side_2'" in message
        assert "RENAME COLUMN side TO side_2" in message

    @pytest.mark.parametrize(
        ("columns", "fields"),
        [
            (hot(x="string", y="string"), cold(b="string")),
            (hot(x="string"), cold(b="string", c="string")),
            (hot(x="long"), cold(b="string")),
        ],
    )
    def test_a_rename_is_only_guessed_where_it_can_be_no_other(self, columns, fields):
        assert "renamed" not in refusal(columns, fields)

    def test_every_column_that_is_wrong_is_named_at_once(self):
        message = refusal(hot(a="int", b="string", new="int"), cold(a="long", b="int", gone="date"))

        assert all(f"'{name}'" in message for name in ("a", "b", "gone"))
        assert "'new'" not in message

    def test_a_name_that_older_files_use_for_another_column_is_not_taken_again(self):
        message = refusal(hot(a="int", b="long"), cold(a="int"), retired={"b"})

        assert "'b'" in message
        assert "dropped or renamed" in message

    def test_a_name_that_differs_in_case_only_is_refused(self):
        message = refusal(hot(price="int", Price="int"), cold(price="int"))

        assert "'Price'" in message
        assert "only in case" in message

    def test_a_column_that_identifies_rows_does_not_become_optional(self):
        message = refusal(hot(a="int?"), cold(a="int!"))

        assert "'a'" in message
        assert "DROP IDENTIFIER FIELDS a" in message


class TestFreeze:
    @pytest.mark.parametrize(
        ("columns", "wanted"),
        [
            (hot(a="int", b="date"), "Column b added as date"),
            (hot(a="long"), "Column a widened from int to long"),
            (hot(a="int?"), "Column a made optional"),
        ],
    )
    def test_every_change_is_an_error_that_says_how_to_allow_it(self, columns, wanted):
        message = refusal(columns, cold(a="int"), FREEZE)

        assert wanted in message
        assert "`offload init`" in message
        assert "`schema_contract`" in message

    def test_a_table_that_did_not_change_is_none(self):
        assert plan(hot(a="int", b="date?"), cold(a="int", b="date?"), FREEZE) == []

    def test_what_init_can_not_follow_either_is_not_said_to_be_cured_by_it(self):
        assert "offload init" not in refusal(hot(a="string", b="date"), cold(a="int"), FREEZE)


class TestTheContractOfAnEntry:
    def test_is_evolve_unless_said_otherwise(self):
        assert TABLE.schema_contract is EVOLVE
        assert TableConfig.model_validate({**TABLE.model_dump(), "schema_contract": "freeze"}).schema_contract is FREEZE


class TestTheNameMapping:
    COMPLETE = json.dumps([{"field-id": 1, "names": ["a"]}, {"field-id": 2, "names": ["b", "old_b"]}])

    def test_is_left_alone_where_every_column_is_in_it(self):
        assert complete_name_mapping(self.COMPLETE, {"a": 1, "b": 2}) is None

    def test_tells_every_name_that_files_may_use(self):
        assert mapped_names(self.COMPLETE) == {"a", "b", "old_b"}
        assert mapped_names(None) == set()

    def test_gets_the_columns_it_lacks_and_keeps_further_names(self):
        text = complete_name_mapping(self.COMPLETE, {"a": 1, "b": 2, "c": 3})

        assert text is not None
        assert json.loads(text) == [*json.loads(self.COMPLETE), {"field-id": 3, "names": ["c"]}]
        assert complete_name_mapping(text, {"a": 1, "b": 2, "c": 3}) is None

    def test_is_made_where_there_is_none(self):
        text = complete_name_mapping(None, {"a": 1, "b": 2})

        assert text is not None
        assert json.loads(text) == [{"field-id": 1, "names": ["a"]}, {"field-id": 2, "names": ["b"]}]

    def test_leads_each_name_to_one_column_only(self):
        text = complete_name_mapping(self.COMPLETE, {"a": 1, "b": 2, "old_b": 3})

        assert text is not None
        assert json.loads(text) == [
            {"field-id": 1, "names": ["a"]},
            {"field-id": 2, "names": ["b"]},
            {"field-id": 3, "names": ["old_b"]},
        ]
