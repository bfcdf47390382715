"""Who may do what, where: roles, their order, and the one who acts. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

EVERY = "*"
"""In the place of an organization's id: all of them, those to come included."""


class Role(StrEnum):
    """What somebody may do in an organization; each includes those before it."""

    EMBED = "embed"  # for tokens in pages that others read: readiness and banners, nothing else
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Whether this role may do all that the other one may (`<` would compare the words)."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, kw_only=True)
class Principal:
    """A person or a program that has shown who it is.

    `actor` is how the audit log names it (`user:alice@agency.example`, `token:reporting`), `name`
    how people see it; `roles` by organization id or EVERY.
    """

    actor: str
    name: str
    roles: Mapping[str, Role]
    user_id: str | None = None

    def may(self, role: Role, organization_id: str | None) -> bool:
        """Whether it may do what the role may in this organization.

        None, or EVERY, stands for what belongs to the installation as a whole: that takes the role
        for every organization.
        """
        held = (self.roles.get(EVERY), self.roles.get(organization_id or EVERY))
        return any(has is not None and has.includes(role) for has in held)

    def may_anywhere(self, role: Role) -> bool:
        """Whether it may do what the role may in one organization at least."""
        return any(has.includes(role) for has in self.roles.values())

    def may_administer(self, roles: Mapping[str, Role]) -> bool:
        """Whether it may change the password of, disable or sign out a person with these roles.

        It has to be an admin wherever the person's roles reach: whoever sets a password could use
        them. A person without any role is a matter of the whole installation.
        """
        return all(self.may(Role.ADMIN, where) for where in roles or (EVERY,))

    def organizations_with(self, role: Role) -> frozenset[str] | None:
        """The organizations where it may do what the role may; None: all."""
        if self.may(role, None):
            return None
        return frozenset(where for where, has in self.roles.items() if has.includes(role))

    @property
    def organization_ids(self) -> frozenset[str] | None:
        """The organizations whose data it may see; None: all."""
        return self.organizations_with(Role.VIEWER)
