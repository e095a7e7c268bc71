"""Small folders in the layouts of the data sets, written with wfdb."""

import csv

import numpy as np
import pandas as pd
import wfdb

RNG = np.random.default_rng(0)
LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")


def noise(seconds=10, rate=500, leads=12):
    return RNG.normal(0, 0.3, (round(seconds * rate), leads))


def write(folder, name, signal, rate, leads, gain):
    count = len(leads)
    wfdb.wrsamp(name, fs=rate, units=["mV"] * count, sig_name=list(leads), p_signal=signal, fmt=["16"] * count,
                adc_gain=[gain] * count, baseline=[0] * count, write_dir=str(folder))  # fmt: skip


def mimic(folder, signals):
    """A folder in MIMIC-IV-ECG's layout, the tables in two orders."""
    records, reports = [], []
    for n, (signal, rate, leads) in enumerate(signals):
        study, path = 40_000_000 + n, f"files/p1000/p1000000{n % 3}/s{40_000_000 + n}"
        (folder / path).mkdir(parents=True)
        write(folder / path, str(study), signal, rate, leads, 200.0)
        records.append({"subject_id": 10_000_000 + n % 3, "study_id": study, "path": f"{path}/{study}"})
        report = {f"report_{m}": "" for m in range(18)} | {"report_0": f"Sinus rhythm number {n}.", "report_3": "LVH"}
        reports.append({"study_id": study} | report)
    pd.DataFrame(records).to_csv(folder / "record_list.csv", index=False)
    pd.DataFrame(reports[::-1]).to_csv(folder / "machine_measurements.csv", index=False)


def ptb_xl(folder):
    for rate, sub, suffix in ((100, "records100", "lr"), (500, "records500", "hr")):
        for n in (1, 2, 3, 4):
            if (n, rate) == (2, 500):
                continue  # a record that is missing at one rate
            (folder / sub / "00000").mkdir(parents=True, exist_ok=True)
            write(folder / sub / "00000", f"{n:05d}_{suffix}", noise(10, rate), rate, LEADS, 1000.0)
    rows = [
        {"ecg_id": n, "patient_id": float(n), "report": "sinusrhythmus", "scp_codes": codes, "strat_fold": fold,
         "filename_lr": f"records100/00000/{n:05d}_lr", "filename_hr": f"records500/00000/{n:05d}_hr"}
        for n, codes, fold in ((1, "{'NORM': 100.0, 'SR': 0.0}", 8), (2, "{'ISCAL': 50.0}", 9), (3, "{'IMI': 0.0}", 10))
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "ptbxl_database.csv", index=False)
    (folder / "scp_statements.csv").write_text(
        ",description,Statement Category,SCP-ECG Statement Description\n"
        "NORM,normal ECG,Normal/abnormal,normal ECG\n"
        "SR,sinus rhythm,Rhythm,sinus rhythm\n"
        "IMI,inferior myocardial infarction,Myocardial Infarction,inferior myocardial infarction\n"
        "ISCAL,ischemic in anterolateral leads,ischemic ST-T changes,in anterolateral leads\n"
    )


def challenge(folder, records, dx="#Dx: {}"):
    """Records as in PhysioNet's challenges: path -> SNOMED CT codes, or None for a header without them."""
    for path, codes in records.items():
        path = folder / path
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path.parent, path.name, noise(2), 500, LEADS, 1000.0)
        if codes is not None:
            with open(path.with_name(path.name + ".hea"), "a") as file:
                file.write(f"#Age: 74\n#Sex: Male\n{dx.format(codes)}\n#Rx: Unknown\n")


def write_table(path, rows):
    """A CSV of dictionaries that have the same keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
