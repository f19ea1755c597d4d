"""Markets and their money: which countries and currencies there are, and how an amount is written."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_CODES: Final = """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW
    BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI
    FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN
    IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME
    MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF
    PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV
    SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK
    YE YT ZA ZM ZW
"""
COUNTRIES: Final = frozenset(_CODES.split())
"""ISO 3166-1 alpha-2, and XK, which everybody uses for Kosovo."""

_DIGITS_OF: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
    CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD
    HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT
    MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR
    SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU
    UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
DIGITS: Final = {code: digits for digits, codes in _DIGITS_OF.items() for code in codes.split()}
"""The currencies of ISO 4217, each with its digits behind the point."""

MOST: Final = Decimal(10) ** 12
"""Where prices end: below it every one, with four digits behind the point too, is the same after JSON."""


def read_price(text: str, currency: str) -> Decimal:
    """A price as a person writes it: `3000`, `3.50`. Raises ValueError with what is wrong with it.

    currency: a key of `DIGITS`.
    """
    written = text.strip()
    if not re.fullmatch(r"\d+(\.\d+)?", written, re.ASCII):
        raise ValueError(f"must be a number such as 3000 or 3.50, without a currency or a comma, not {text[:40]!r}")
    amount = Decimal(written)
    if amount >= MOST:
        raise ValueError("must be below a million millions")
    exact = Decimal(written.rstrip("0") if "." in written else written)
    digits = DIGITS[currency]
    if -int(exact.as_tuple().exponent) > digits:
        has = f"{digits} digits behind the point" if digits else "no digits behind the point"
        raise ValueError(f"{currency} has {has}, and {written} has more")
    return amount.quantize(Decimal(1).scaleb(-digits))


def money(amount: float | Decimal, currency: str) -> str:
    """`3.50 EUR`, `3000 RWF`, `1.250 KWD`; with more digits where an amount has them."""
    exact = Decimal(str(amount))
    digits = max(DIGITS.get(currency, 0), -int(exact.normalize().as_tuple().exponent))
    return f"{exact:.{digits}f} {currency}"
