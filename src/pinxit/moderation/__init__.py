"""Whether a prompt may be painted."""

from abc import ABC, abstractmethod


class Moderator(ABC):
    """Looks at an order before it is painted; a refusal costs nothing."""

    @abstractmethod
    async def check_prompt(self, prompt: str) -> None:
        """Raises ContentPolicyViolation with stage "input" and the categories; it never repeats the prompt."""
