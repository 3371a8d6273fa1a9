"""What differential privacy of clients is worth: epsilon, by Flower's accountant over Google's dp-accounting."""

from __future__ import annotations

from flwr.serverapp import NeighboringRelation, PrivacyConfig, SamplingMethod
from flwr.supercore.privacy_accounting import GaussianPrivacyEvent
from flwr.supercore.privacy_accounting.rdp_accountant import RdpAccountant


def epsilon(noise: float, sampled: int, population: int, rounds: int, delta: float) -> float:
    """An upper bound of epsilon after ``rounds`` means over ``sampled`` of ``population`` clients, drawn without
    replacement, with Gaussian noise of ``noise`` times the clipping length over ``sampled``: Rényi differential privacy
    of the sampled Gaussian mechanism (Wang and others, arXiv:1808.00087), for populations that differ in one client's
    whole speech. Replacing a client moves the sum by twice the clipping length, so half the noise counts.
    """
    config = PrivacyConfig(delta, population, NeighboringRelation.REPLACE_ONE, SamplingMethod.WITHOUT_REPLACEMENT)
    accountant = RdpAccountant(config)
    accountant.compose(GaussianPrivacyEvent(noise / 2, sampled, population), rounds)
    return float(accountant.get_epsilon(delta))


def usual_delta(population: int) -> float:
    """Less than one in the number of clients, as McMahan and others chose it (arXiv:1710.06963)."""
    return float(population**-1.1)
