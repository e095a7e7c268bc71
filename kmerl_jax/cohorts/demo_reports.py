"""Reports of simulated ECGs, worded as the ECG carts of MIMIC-IV-ECG word theirs.

The phrases are in the manner of `machine_measurements.csv` (report_0 .. report_17) of MIMIC-IV-ECG 1.0: one rhythm line
that names several things at once, one statement a finding in one of many wordings, hedges, notes on quality, and a
closing line. A report is a machine's: now and then it misses a finding or is unsure of it.
"""

import dataclasses

import numpy as np

OMISSION = 0.05  # share of statements that a report leaves out
HEDGING = 0.13  # share of statements that are worded as possible, probable, or to be considered
CAPITALS = 0.15  # share of carts that write in capitals
FULL_STOPS = 0.25  # share of carts that end statements with a full stop

_FIRM, _HEDGED = 0, 1
_WORDINGS = {
    "right bundle branch block": (
        ("Right bundle branch block", "RBBB", "Right bundle branch block", "Conduction defect of RBBB type"),
        ("IVCD, consider atypical RBBB", "Probable right bundle branch block"),
    ),
    "left bundle branch block": (
        ("Left bundle branch block", "LBBB", "Left bundle branch block", "Conduction defect of LBBB type"),
        ("IVCD, consider atypical LBBB", "Probable left bundle branch block"),
    ),
    "left ventricular hypertrophy": (
        (
            "Left ventricular hypertrophy",
            "LVH by voltage",
            "Voltage criteria for left ventricular hypertrophy",
            "Left ventricular hypertrophy by voltage only",
        ),
        (
            "Possible left ventricular hypertrophy",
            "Probable left ventricular hypertrophy",
            "Consider left ventricular hypertrophy",
            "Consider LVH suggested by voltage criteria only",
        ),
    ),
    "inferior myocardial infarction": (
        (
            "Inferior infarct - age undetermined",
            "Inferior infarct, old",
            "Old inferior infarct",
            "Inferior infarct, age indeterminate",
            "Inferior infarction - age undetermined",
            "Abnormal Q suggests inferior infarct",
        ),
        (
            "Possible inferior infarct - age undetermined",
            "Probable old inferior infarct",
            "Probable inferior infarct - age undetermined",
            "Consider inferior infarct",
            "Cannot rule out inferior infarct - age undetermined",
        ),
    ),
    "anterior myocardial infarction": (
        (
            "Anterior infarct - age undetermined",
            "Anterior infarct, old",
            "Anterior infarct, age indeterminate",
            "Anteroseptal infarct - age undetermined",
            "Anteroseptal infarct, old",
            "Abnormal Q suggests anterior infarct",
        ),
        (
            "Possible anterior infarct - age undetermined",
            "Probable anterior infarct, old",
            "Consider anterior infarct",
            "Cannot rule out anteroseptal infarct - age undetermined",
            "Poor R wave progression - cannot rule out anterior infarct",
        ),
    ),
    "prolonged qt interval": (
        ("Prolonged QT interval", "Long QTc interval", "Prolonged QT interval"),
        ("Borderline prolonged QT interval", "Long QTc: possible hypocalcemia or T-U fusion"),
    ),
    "left axis deviation": (
        ("Left axis deviation", "Leftward axis", "Left axis deviation", "Abnormal left axis deviation"),
        ("Borderline left axis deviation", "QRS axis leftward (superior) for age"),
    ),
    "right axis deviation": (
        ("Right axis deviation", "Rightward axis", "Rightward QRS axis", "Right axis deviation"),
        ("Borderline right axis deviation",),
    ),
}

# Wordings of what has a place; {place} as in "Inferior and lateral", {leads} as in "inferior and lateral leads".
_ST_ELEVATION = (
    (
        "{place} ST elevation",
        "{place} ST elevation, consider acute injury",
        "{place} ST elevation - repeat if myocardial injury is suspected",
        "ST elevation, consider {lower} injury",
    ),
    ("{place} ST elevation - cannot rule out myocardial injury", "Borderline ST elevation, {leads}"),
)
_ST_DEPRESSION = (
    (
        "ST depression, {leads}",
        "{place} ST depression, consider ischemia",
        "ST depr, consider ischemia, {leads}",
        "{place} ST depression is nonspecific",
    ),
    ("Borderline ST depression, {leads}", "Minimal ST depression, {leads}"),
)
_T_INVERSION = (
    (
        "{place} T wave abnormality",
        "{place} T wave changes may be due to myocardial ischemia",
        "{place} T wave inversion",
        "Abnormal T, consider ischemia, {leads}",
        "{place} T wave changes are abnormal",
    ),
    ("{place} T wave changes are nonspecific", "Abnormal T, probable ischemia, {leads}"),
)
_LOW_VOLTAGE = {
    "limb": (
        "Low QRS voltages in limb leads",
        "Low voltage, extremity leads",
        "Low QRS voltages in standard limb leads",
    ),
    "chest": ("Low QRS voltages in precordial leads", "Low voltage, precordial leads"),
    "both": ("Low voltage, extremity and precordial leads", "Low QRS voltages", "Generalized low QRS voltages"),
}

# Alone, these do not make a cart call an ECG abnormal.
_MILD = frozenset(
    {
        "sinus rhythm",
        "sinus bradycardia",
        "sinus arrhythmia",
        "premature atrial complex",
        "first degree av block",
        "left axis deviation",
        "right axis deviation",
        "low qrs voltage",
    }
)


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a cart has to report.

    Attributes:
        findings: names of findings; those a cart does not know are passed over in silence but are not normal.
        rate: QRS complexes per minute.
        pr_s: PR interval, seconds.
        premature_atrial, premature_ventricular: numbers of complexes.
        st_elevation, st_depression, t_inversion: walls ("inferior", "anterior", "lateral") where each is seen.
        low_voltage: "limb", "chest", "both" or "".
        tracks: the pacemaker follows P waves.
        unsuitable: leads that hold nothing.
        wandering: leads with much baseline wander.
    """

    findings: frozenset[str]
    rate: float
    pr_s: float = 0.16
    premature_atrial: int = 0
    premature_ventricular: int = 0
    st_elevation: tuple[str, ...] = ()
    st_depression: tuple[str, ...] = ()
    t_inversion: tuple[str, ...] = ()
    low_voltage: str = ""
    tracks: bool = False
    unsuitable: tuple[str, ...] = ()
    wandering: tuple[str, ...] = ()


def write(reading: Reading, rng: np.random.Generator) -> list[str]:
    """Statements of a report, in order, at most 18 and at least four words together."""
    capitals, full_stops = rng.random() < CAPITALS, rng.random() < FULL_STOPS
    statements = _rhythm(reading, rng)
    for finding, wordings in _WORDINGS.items():
        if finding in reading.findings:
            statements += _say(wordings, rng)
    for wordings, walls in (
        (_ST_ELEVATION, reading.st_elevation),
        (_ST_DEPRESSION, reading.st_depression),
        (_T_INVERSION, reading.t_inversion),
    ):
        if walls:
            statements += [_locate(statement, walls) for statement in _say(wordings, rng)]
    if reading.low_voltage:
        firm = _LOW_VOLTAGE[reading.low_voltage]
        statements += _say((firm, tuple(f"Borderline l{wording[1:]}" for wording in firm)), rng)
    if reading.unsuitable:
        statements.append(f"Lead(s) unsuitable for analysis: {' '.join(reading.unsuitable)}")
    if reading.wandering:
        statements.append(f"Baseline wander in lead(s) {','.join(reading.wandering)}")
    statements.append(_closing(reading, rng))
    if capitals:
        statements = [statement.upper() for statement in statements]
    if full_stops:
        statements = [f"{statement}." for statement in statements]
    return statements


def _say(wordings: tuple, rng: np.random.Generator) -> list[str]:
    """One wording, firm or hedged, or nothing where the cart misses the finding."""
    omitted, hedged = rng.random(2) < (OMISSION, HEDGING)
    choices = wordings[_HEDGED if hedged else _FIRM]
    wording = choices[rng.integers(len(choices))]
    return [] if omitted else [wording]


def _locate(statement: str, walls: tuple[str, ...]) -> str:
    lower = " and ".join(walls) if len(walls) < 3 else "diffuse"
    place = lower.capitalize() if len(walls) < 3 else "Extensive"
    return statement.format(place=place, lower=lower, leads=f"{lower} leads")


def _rhythm(reading: Reading, rng: np.random.Generator) -> list[str]:
    """The rhythm line; a part of the carts writes what is added to the rhythm on lines of its own."""
    has = reading.findings.__contains__
    hedged, omit_pac, omit_pvc, omit_block = rng.random(4) < (HEDGING, OMISSION, OMISSION, OMISSION)
    separate = rng.random() < 0.3
    if has("ventricular pacing"):
        firm = ["Ventricular-paced rhythm", "Ventricular-paced complexes", "Regular ventricular pacing"]
        firm += ["Demand ventricular pacing", "Electronic ventricular pacemaker"]
        if reading.tracks:
            firm += ["Atrial-sensed ventricular-paced rhythm", "Atrial-sensed ventricular-paced complexes"]
        statements = [firm[rng.integers(len(firm))]]
        if rng.random() < 0.3:
            statements.append(
                str(rng.choice(["Pacemaker rhythm - no further analysis", "Pacemaker spikes or artifacts"]))
            )
        return statements
    if has("atrial fibrillation"):
        line = "Probable atrial fibrillation" if hedged else "Atrial fibrillation"
    elif has("atrial flutter"):
        line = "Possible atrial flutter" if hedged else "Atrial flutter"
    elif has("sinus tachycardia"):
        line = "Sinus tachycardia"
    elif has("sinus bradycardia"):
        line = "Marked sinus bradycardia" if reading.rate < 45 else "Sinus bradycardia"
    elif has("sinus arrhythmia"):
        line = "Sinus arrhythmia"
    else:
        line = "Sinus rhythm"
    if has("sinus arrhythmia") and line != "Sinus arrhythmia" and rng.random() >= OMISSION:
        line += " with sinus arrhythmia"
    if has("atrial fibrillation") or has("atrial flutter"):
        if reading.rate > 100:
            line += f" with {rng.choice(['rapid', 'rapid', 'uncontrolled'])} ventricular response"
        elif reading.rate < 60:
            line += " with slow ventricular response"
    parts = []
    if has("premature ventricular complex") and not omit_pvc:
        many = reading.premature_ventricular > 2
        parts.append(
            _one(("frequent PVCs", "PVCs", "multiple PVCs") if many else ("PVC(s)", "PVCs", "occasional PVCs"), rng)
        )
        if separate:
            parts[-1] = _one(("- premature ventricular contractions", "Premature ventricular complexes"), rng)
    if has("premature atrial complex") and not omit_pac:
        many = reading.premature_atrial > 2
        parts.append(_one(("frequent PACs", "PACs") if many else ("PAC(s)", "PACs", "occasional PACs"), rng))
        if separate:
            parts[-1] = _one(("- premature atrial contractions", "Premature atrial complexes"), rng)
    if has("first degree av block") and not omit_block:
        borderline = reading.pr_s < 0.21
        parts.append("borderline 1st degree A-V block" if borderline else "1st degree A-V block")
        if separate:
            parts[-1] = "- borderline first degree A-V block" if borderline else "- first degree A-V block"
    if separate:
        return [line, *parts]
    return [" with ".join([line, *parts])]


def _one(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[rng.integers(len(choices))]


def _closing(reading: Reading, rng: np.random.Generator) -> str:
    if "normal ecg" in reading.findings:
        return "Normal ECG"
    closing = "Borderline ECG" if reading.findings <= _MILD and rng.random() < 0.6 else "Abnormal ECG"
    return f"Summary: {closing}" if rng.random() < 0.1 else closing
