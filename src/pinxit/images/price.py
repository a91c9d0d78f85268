"""What a picture costs: by model, size and quality, in integer micro-dollars."""

from dataclasses import dataclass

from pinxit.images.size import Size

MEGAPIXEL = 1024 * 1024
"""As providers count it: a square of 1024 pixels is one."""


@dataclass(frozen=True, slots=True)
class PriceRule:
    """A price and what it is for; None is any. `further_micros` is added for each megapixel begun after the first."""

    micros: int
    size: str | None = None
    quality: str | None = None
    further_micros: int = 0

    def of(self, size: Size) -> int:
        """The price of a picture of that size."""
        megapixels = max(1, -(-size.width * size.height // MEGAPIXEL))
        return self.micros + (megapixels - 1) * self.further_micros

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
        return max(fitting, key=lambda rule: rule.precision).of(size) if fitting else 0


FREE = PriceList()
