"""Pages of HTML that need nothing beside themselves: one layout and one style for all, pictures inside."""

from abs_theory.pages.render import data_uri, inline_svg, render

__all__ = ["data_uri", "inline_svg", "render"]
