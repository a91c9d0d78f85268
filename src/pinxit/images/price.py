"""What a picture costs: by model, size and quality, in integer micro-dollars."""

from dataclasses import dataclass

from pinxit.images.size import Size


@dataclass(frozen=True, slots=True)
class PriceRule:
    """A price and what it is for; None is any."""

    micros: int
    size: str | None = None
    quality: str | None = None

    def fits(self, size: Size, quality: str) -> bool:
        return self.size in (None, str(size)) and self.quality in (None, quality)

    @property
    def precision(self) -> int:
        """How much the rule says: a size counts more than a quality."""
        return 2 * (self.size is not None) + (self.quality is not None)


@dataclass(frozen=True, slots=True)
class PriceList:
    """Rules; of those that fit a picture, the most precise one counts, of several such the first. None fits: free."""

    rules: tuple[PriceRule, ...] = ()

    def micros(self, size: Size, quality: str) -> int:
        """The price of one picture."""
        fitting = [rule for rule in self.rules if rule.fits(size, quality)]
        return max(fitting, key=lambda rule: rule.precision).micros if fitting else 0


FREE = PriceList()
