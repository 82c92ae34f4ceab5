"""
The paper's Figure 1: convergence of the two losses
===================================================

The loss of an efficient unbiased estimator is 1 in units of the bound, whatever the parameter and wherever in
parameter space, so that the CRB loss has an absolute scale. The mean squared error has none. This example trains the
network of Zhang et al. with both losses (14 layers, Adam, a learning rate of 0.01 that is halved every 40 epochs, 400
epochs) and measures how much each loss fluctuates from epoch to epoch. In full it takes hours::

    python examples/plot_07_paper_convergence.py --directory paper_runs --output results

The trained networks stay in the directory, for the other examples of the paper.

The pictures below are those of a trial run with networks that are hardly trained; :doc:`/paper_results` has those of
the full run.
"""
# sphinx_gallery_thumbnail_path = "paper/convergence.png"

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from paper_experiment import TITLES, PaperExperiment, arguments

options = arguments("Convergence of the CRB loss and of the mean squared error.")
experiment = PaperExperiment(options.directory, options.fast)
names = options.networks or ["paper-crb", "paper-mse"]
histories = {name: experiment.network(name)[-1].history_ for name in names}

# %%
# Fluctuation
# -----------
# The relative change of a loss from one epoch to the next, without its trend: the standard deviation of
# :math:`\log L_{e+1} - \log L_e`, divided by :math:`\sqrt 2`, for the stretches of constant learning rate.


def fluctuation(loss, rate):
    change = np.diff(np.log(loss))[np.diff(rate) == 0]
    return np.std(change) / np.sqrt(2)


rows = []
for name, history in histories.items():
    for first in range(0, len(history), 80):
        part = history.iloc[first : first + 80]
        if len(part) < 3:
            continue
        row = {"network": name, "epochs": f"{first + 1}-{first + len(part)}"}
        for loss in ("train_loss", "valid_loss"):
            row[f"{loss} (end)"] = part[loss].iloc[-1]
            row[f"{loss} fluctuation [%]"] = 100 * fluctuation(part[loss], part["learning_rate"])
        rows.append(row)
table = pd.DataFrame(rows)
print(table.to_string(index=False, float_format="{:.3g}".format))
if options.output is not None:
    table.to_csv(options.output / "convergence.csv", index=False, float_format="%.4g")

# %%
# The figure
# ----------
# The dashed line is the loss of an efficient unbiased estimator. The trained network falls below it, since it shrinks
# towards what the prior makes likely where the signal tells little.

fig, axes = plt.subplots(1, len(histories), figsize=(4.5 * len(histories), 3.4), layout="constrained", squeeze=False)
for ax, (name, history) in zip(axes[0], histories.items(), strict=True):
    ax.semilogy(history["train_loss"], label="training", linewidth=1)
    ax.semilogy(history["valid_loss"], label="validation", linewidth=1)
    crb = "crb" in name
    if crb:
        ax.axhline(1, color="0.5", linestyle="--", linewidth=1, label="efficient, unbiased")
    ax.set(xlabel="epoch", ylabel="CRB loss" if crb else "mean squared error [mixed units]", title=TITLES[name])
    ax.legend()
if options.output is not None:
    fig.savefig(options.output / "convergence.png", dpi=150)
plt.show()
