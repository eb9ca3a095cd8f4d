"""The differences between two schemas as text, and the schema that a span's statistics propose."""

import re

import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

_SHOWN = 12  # values of a domain that are listed


def propose(
    schema: schema_pb2.Schema, statistics: statistics_pb2.DatasetFeatureStatisticsList
) -> schema_pb2.Schema:
    """Drafts the schema under which these statistics have no anomaly; the given one does not change.

    This is TFDV's `update_schema` with the gate's comparators kept: it widens domains and ranges, lowers presence
    and adds new columns. It is a proposal: nothing in Noria applies it.
    """
    draft = schema_pb2.Schema()
    draft.CopyFrom(schema)
    updated = tfdv.update_schema(draft, statistics)
    # update_schema would raise the comparators' thresholds, too. They are about drift, not about the schema.
    before = {feature.name: feature for feature in schema.feature}
    for feature in updated.feature:
        old = before.get(feature.name)
        if old is None:
            continue
        for field in ("drift_comparator", "skew_comparator"):
            feature.ClearField(field)
            if old.HasField(field):
                getattr(feature, field).CopyFrom(getattr(old, field))
    return updated


def diff(old: schema_pb2.Schema, new: schema_pb2.Schema) -> str:
    """Writes the changes from `old` to `new` as Markdown, feature by feature; an empty text if there are none."""
    before = {feature.name: feature for feature in old.feature}
    after = {feature.name: feature for feature in new.feature}
    old_domains = {domain.name: list(domain.value) for domain in old.string_domain}
    new_domains = {domain.name: list(domain.value) for domain in new.string_domain}
    lines: list[str] = []
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            changes = [f"new column, {_kind(after[name])}"]
        elif name not in after:
            changes = ["column removed"]
        else:
            changes = _fields(before[name], after[name])
            changes += _domain(
                _values(before[name], old_domains),
                _values(after[name], new_domains),
                before[name],
                after[name],
            )
        if changes:
            lines.append(f"### `{name}`")
            lines += [f"- {change}" for change in changes]
            lines.append("")
    if list(old.default_environment) != list(new.default_environment):
        lines += [
            "### environments",
            f"- {_list(old.default_environment)} → {_list(new.default_environment)}",
            "",
        ]
    return "\n".join(lines)


def _fields(old: schema_pb2.Feature, new: schema_pb2.Feature) -> list[str]:
    changes = []
    if old.type != new.type:
        changes.append(f"type: {_kind(old)} → {_kind(new)}")
    skipped = {"name", "type", "string_domain", "domain"}
    for descriptor in schema_pb2.Feature.DESCRIPTOR.fields:
        if descriptor.name in skipped:
            continue
        left, right = _text(old, descriptor.name), _text(new, descriptor.name)
        if left != right:
            changes.append(f"{descriptor.name}: {left or 'none'} → {right or 'none'}")
    return changes


def _domain(
    old: list[str] | None, new: list[str] | None, before: schema_pb2.Feature, after: schema_pb2.Feature
) -> list[str]:
    if old is None and new is None:
        return [f"domain: {before.domain} → {after.domain}"] if before.domain != after.domain else []
    if old is None or new is None:
        return [f"domain: {_list(old)} → {_list(new)}"]
    changes = []
    added = [value for value in new if value not in set(old)]
    removed = [value for value in old if value not in set(new)]
    if added:
        changes.append(f"domain gains {len(added)}: {_list(added)}")
    if removed:
        changes.append(f"domain loses {len(removed)}: {_list(removed)}")
    return changes


def _values(feature: schema_pb2.Feature, domains: dict[str, list[str]]) -> list[str] | None:
    if feature.HasField("string_domain"):
        return list(feature.string_domain.value)
    return domains.get(feature.domain) if feature.domain else None


def _list(values: list[str] | None) -> str:
    if not values:
        return "none"
    shown = ", ".join(f"`{value}`" for value in values[:_SHOWN])
    return shown if len(values) <= _SHOWN else f"{shown} and {len(values) - _SHOWN} more"


def _text(feature: schema_pb2.Feature, name: str) -> str:
    """One field as one line of protobuf text, without its own name."""
    copy = schema_pb2.Feature()
    value = getattr(feature, name)
    if hasattr(value, "extend"):
        getattr(copy, name).extend(value)
    elif not feature.HasField(name):
        return ""
    elif hasattr(value, "DESCRIPTOR"):
        getattr(copy, name).CopyFrom(value)
    else:
        setattr(copy, name, value)
    line = text_format.MessageToString(copy, as_one_line=True)
    # "presence { min_fraction: 0.4 }" and "in_environment: 'A'" without the name, and without its braces.
    return re.sub(rf"^{name}:? *", "", line.strip()).removeprefix("{").removesuffix("}").strip()


def _kind(feature: schema_pb2.Feature) -> str:
    return schema_pb2.FeatureType.Name(feature.type)
