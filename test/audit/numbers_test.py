# SPDX-License-Identifier: Apache-2.0
"""The statistics of tools/python/audit on landscapes whose answers are known by hand."""

import itertools
import json
import pathlib
import tempfile
import unittest

import numpy as np
from synthetic import Synthetic, run_audit, subsets

import cells
import estimates

# Four layers, two kept: objectives of the six choices.
FLAT = {kept: [float(value)] * 4 for kept, value in zip(subsets(4, 2), (1, 2, 2, 3, 5, 8), strict=True)}


def results_of(synthetic):
    with tempfile.TemporaryDirectory() as folder:
        return estimates.evaluate(cells.read_audit(synthetic.write(folder)))


def one_cell(landscape, picks, **options):
    return results_of(Synthetic(list(picks)).cell(landscape, picks, **options))


def row_of(results, selector):
    return next(row for row in results.rows if row.selector == selector)


def shifted(differences):
    """A landscape of two choices, (0, 1) and (2, 3), with these differences of the first one's KL a sample."""
    noise = np.linspace(1, 9, len(differences))
    return {(0, 1): (noise + differences).tolist(), (2, 3): noise.tolist()}


def cell_of(kl, base="tiny", seed=0, budget=2, picks=None):
    """A cell without files: `kl` [choices, samples] of one task, `picks` a choice's place by selector."""
    names = tuple((f"choice {i}",) for i in range(len(kl)))
    cost = cells.Cost(0, 0.0, 0.0)
    scores = {"recall": cells.Scores(kl, np.zeros_like(kl))}
    measures = cells.Measures(1, True, ("recall",), cost, names, ((),) * len(names), scores, {})
    chosen = {selector: cells.Pick(index, cost) for selector, index in (picks or {}).items()}
    return cells.Cell(base, seed, budget, "selection", measures, chosen)


def audit_of(cells_of, resamples=300):
    """The first selector of the first cell is the reference."""
    selectors = tuple(cells_of[0].picks) or ("none",)
    return cells.Audit("synthetic", 0.95, resamples, 0, selectors[0], selectors, tuple(cells_of))


class Persistence(unittest.TestCase):
    def both(self, after, **options):
        """Before distillation 1, 2, 2, 3, 5, 8; after it the values given."""
        picks = {"gates": (0, 1)}
        distilled = {kept: [float(value)] * 4 for kept, value in zip(subsets(4, 2), after, strict=True)}
        synthetic = Synthetic(["gates"]).cell(FLAT, picks)
        return results_of(synthetic.cell(distilled, picks, after="distill", **options)).persistence

    def test_an_order_that_is_kept(self):
        (line,) = self.both((10, 20, 20, 30, 50, 80))
        self.assertAlmostEqual(line.spearman, 1)
        self.assertEqual((line.base, line.seed, line.budget, line.choices), ("tiny", 0, 2, 6))
        self.assertAlmostEqual(line.spearman_best, 1)
        self.assertEqual(line.finalists, {1: 0, 2: 0, 4: 0})

    def test_a_turned_order(self):
        # Ranks 1, 2.5, 2.5, 4, 5, 6 and 6, 5, 4, 3, 2, 1: products of their distances from 3.5 sum up to -17, squares
        # to 17 and 17.5.
        (line,) = self.both((6, 5, 4, 3, 2, 1))
        self.assertAlmostEqual(line.spearman, -17 / np.sqrt(17 * 17.5))
        # The best two before are the worst two after; among four the best is 3.
        self.assertAlmostEqual(line.spearman_best, -1)
        self.assertEqual(line.finalists, {1: 5, 2: 4, 4: 2})

    def test_equal_ones_have_no_order(self):
        (line,) = self.both((1, 1, 1, 1, 1, 1))
        self.assertEqual((line.spearman, line.spearman_best), (None, None))
        self.assertEqual(line.finalists, {1: 0, 2: 0, 4: 0})

    def test_only_where_all_were_distilled(self):
        self.assertEqual(self.both((1, 2, 3, 4, 5, 6), complete=False), ())

    def test_is_printed(self):
        picks = {"gates": (0, 1)}
        synthetic = Synthetic(["gates"]).cell(FLAT, picks).cell(FLAT, picks, after="distill")
        with tempfile.TemporaryDirectory() as folder:
            done = run_audit(synthetic.write(folder))
            page = pathlib.Path(folder, "audit.html").read_text()
        self.assertIn("rank correlation of 6 choices before and after distillation 1.0000", done.stdout)
        self.assertIn("has regret 0.0000 (n = 1), 0.0000 (n = 2), 0.0000 (n = 4)", done.stdout)
        self.assertIn('id="persistence"', page)


class Ranks(unittest.TestCase):
    def test_rank_percentile_and_regret(self):
        results = one_cell(FLAT, {"best": (0, 1), "tied": (0, 3), "fourth": (1, 2), "last": (2, 3)})
        found = {
            row.selector: (row.objective, row.rank, row.percentile, row.regret, row.choices) for row in results.rows
        }
        self.assertEqual(
            found,
            {
                "best": (1, 1, 100, 0, 6),
                "tied": (2, 2, 60, 1, 6),
                "fourth": (3, 4, 40, 2, 6),
                "last": (8, 6, 0, 7, 6),
                "exhaustive": (1, 1, 100, 0, 6),
            },
        )

    def test_a_tie_for_the_first_rank_is_optimal(self):
        results = one_cell({(0, 1): [1.0, 1.0], (1, 2): [1.0, 1.0], (2, 3): [2.0, 2.0]}, {"gates": (1, 2)})
        self.assertEqual((row_of(results, "gates").rank, row_of(results, "gates").percentile), (1, 50))
        self.assertEqual(results.summary[0].optimal, 1)

    def test_a_single_choice(self):
        row = row_of(one_cell({(0, 1): [1.0, 3.0]}, {"gates": (0, 1)}), "gates")
        self.assertEqual((row.rank, row.percentile, row.regret, row.objective), (1, 100, 0, 2))

    def test_the_exhaustive_row_has_the_cost_of_judging(self):
        row = row_of(one_cell(FLAT, {"gates": (2, 3)}), "exhaustive")
        self.assertEqual(
            (row.kept, row.tokens, row.seconds, row.regret_interval, row.regret_crossfit),
            ((0, 1), 99000, 99, (0, 0), None),
        )

    def test_tasks_weigh_alike_however_many_samples_they_have(self):
        landscape = {
            (0, 1): {"recall": [1.0] * 6, "hop": [4.0] * 2, "text": [9.0]},
            (2, 3): {"recall": [2.0] * 6, "hop": [2.0] * 2, "text": [7.0]},
        }
        results = one_cell(landscape, {"gates": (0, 1)}, tasks=("recall", "hop"))
        row = row_of(results, "gates")
        self.assertEqual((row.objective, row.rank, row.regret, row.correct), (2.5, 2, 0.5, 0.5))
        self.assertEqual(
            (row.by_task, row.text),
            ({"recall": {"kl": 1, "correct": 0.5}, "hop": {"kl": 4, "correct": 0.5}}, {"kl": 9, "correct": 0.5}),
        )

    def test_incomplete_cells_have_no_ranks(self):
        results = one_cell(FLAT, {"gates": (2, 3), "drop": (0, 1)}, complete=False)
        self.assertEqual([row.selector for row in results.rows], ["gates", "drop"])
        for row in results.rows:
            self.assertEqual(
                (row.rank, row.percentile, row.regret, row.regret_interval, row.regret_crossfit), (None,) * 5
            )
        line = results.summary[0]
        self.assertEqual(
            (line.ranked, line.regret, line.worst_regret, line.rank, line.optimal, line.objective),
            (0, None, None, None, None, 8),
        )
        self.assertEqual(results.additivity, ())
        self.assertEqual(results.comparisons[0].difference, -7)

    def test_of_which_cells_they_are_is_said(self):
        words = "cells in which every choice was judged"
        for complete in (True, False):
            picks = {"gates": (0, 1)}
            synthetic = Synthetic(["gates"]).cell(FLAT, picks).cell(FLAT, picks, seed=1, complete=complete)
            with tempfile.TemporaryDirectory() as folder:
                done = run_audit(synthetic.write(folder))
                page = pathlib.Path(folder, "audit.html").read_text()
            self.assertEqual((words in done.stdout, words in page), (not complete, not complete), done)
            self.assertTrue(complete or f"over the 1 of 2 {words}" in done.stdout, done)


class Regret(unittest.TestCase):
    def test_crossfit_by_hand(self):
        # Halves are one sample each. Found on the first: (0, 1), which the second judges at 3; found on the second:
        # (2, 3), which the first judges at 2.
        results = one_cell({(0, 1): [0.0, 3.0], (2, 3): [2.0, 2.0]}, {"a": (0, 1), "b": (2, 3)})
        self.assertEqual(row_of(results, "a").regret_crossfit, ((3 - 3) + (0 - 2)) / 2)
        self.assertEqual(row_of(results, "b").regret_crossfit, ((2 - 3) + (2 - 2)) / 2)
        self.assertEqual((row_of(results, "a").regret, row_of(results, "b").regret), (0, 0.5))

    def test_crossfit_is_the_regret_where_samples_agree(self):
        for row in one_cell(FLAT, {"a": (1, 2), "b": (2, 3)}).rows[:2]:
            self.assertAlmostEqual(row.regret_crossfit, row.regret)

    def test_one_sample_has_no_halves(self):
        self.assertIsNone(row_of(one_cell({(0, 1): [1.0], (2, 3): [2.0]}, {"a": (0, 1)}), "a").regret_crossfit)

    def test_the_two_regrets_enclose_the_true_one(self):
        random = np.random.default_rng(5)
        true = np.linspace(0, 0.5, 6)
        inside, crossfit = [], []
        for _ in range(40):
            kl = random.normal(true[:, None], 1, (6, 16))
            row = row_of(one_cell(dict(zip(subsets(4, 2), kl.tolist(), strict=True)), {"a": (1, 2)}), "a")
            inside.append(row.regret)
            crossfit.append(row.regret_crossfit)
        self.assertGreater(np.mean(inside), true[3] + 0.05)
        self.assertLess(np.mean(crossfit), true[3] - 0.05)

    def test_the_interval_of_a_row_is_of_its_samples(self):
        random = np.random.default_rng(2)
        differences = random.normal(1, 0.5, 400)
        results = results_of(Synthetic(["a"], resamples=4000).cell(shifted(differences), {"a": (0, 1)}))
        row = row_of(results, "a")
        error = 1.96 * differences.std() / 20
        self.assertAlmostEqual(row.regret, differences.mean())
        self.assertAlmostEqual(row.regret_interval[0], differences.mean() - error, delta=0.1 * error)
        self.assertAlmostEqual(row.regret_interval[1], differences.mean() + error, delta=0.1 * error)


class Honesty(unittest.TestCase):
    """What a mean hides: of how many cells it is, and in how many of them it is bad."""

    def test_cells_that_are_above_the_best(self):
        # Above the best by 1, by 0 or by what samples do not tell.
        synthetic = Synthetic(["gates", "uniform:0", "uniform:1"])
        for seed, differences in enumerate(([1.0] * 6, [0.0] * 6, [-1.0, 1.0, -1.0, 1.0, -1.0, 1.1])):
            synthetic.cell(
                shifted(differences), {"gates": (0, 1), "uniform:0": (0, 1), "uniform:1": (2, 3)}, seed=seed
            )
        found = {line.selector: line for line in results_of(synthetic).summary}
        self.assertEqual(
            [(line.selector, line.cells, line.above_zero, line.uniform_cells, line.above_uniform) for line in found.values()],
            [
                ("gates", 3, 1, 3, 2),
                ("uniform:0", 3, 1, 3, 2),
                ("uniform:1", 3, 0, 3, 0),
                ("best uniform", 3, 0, 3, None),
                ("exhaustive", 3, 0, 3, 0),
            ],
        )

    def test_cells_without_uniform_patterns_and_cells_that_are_not_complete(self):
        synthetic = Synthetic(["gates", "uniform:0"])
        synthetic.cell(FLAT, {"gates": (2, 3)})
        synthetic.cell(FLAT, {"gates": (2, 3), "uniform:0": (0, 3)}, seed=1, complete=False)
        line = results_of(synthetic).summary[0]
        self.assertEqual((line.ranked, line.above_zero), (1, 1))
        # Regret and KL lie equally far above the best uniform pattern's.
        self.assertEqual((line.cells, line.uniform_cells, line.above_uniform), (2, 1, 1))
        self.assertIsNone(one_cell(FLAT, {"gates": (0, 1)}, complete=False).summary[0].above_zero)

    def test_they_are_printed(self):
        synthetic = Synthetic(["gates", "uniform:0", "drop"])
        for seed in range(3):
            picks = {"gates": (1, 2), "uniform:0": (0, 3)} if seed < 2 else {"gates": (2, 3), "drop": (0, 1)}
            synthetic.cell(FLAT, picks, seed=seed)
        with tempfile.TemporaryDirectory() as folder:
            done = run_audit(synthetic.write(folder))
            page = pathlib.Path(folder, "audit.html").read_text()
        lines = [line.split() for line in done.stdout.splitlines()]
        self.assertEqual(lines[1][:2] + lines[1][6:10], ["selector", "cells", "above", "0", "above", "uniform"])
        gates, drop = (next(line for line in lines if line[:1] == [name]) for name in ("gates", "drop"))
        # Cells and mean regret; worst rank, cells above 0 and above the best uniform pattern.
        self.assertEqual((gates[:3], gates[6:13]), (["gates", "3", "3.6667"], "6 of 6 3 2 of 2".split()))
        self.assertEqual((drop[:3], drop[6:11]), (["drop", "1", "0.0000"], "1 of 6 0 -".split()))
        self.assertIn('<th scope="col">Above 0</th><th scope="col">Above uniform</th>', page)
        self.assertIn("<td>2 of 2</td>", page)
        self.assertIn("stand in different cells are not for ranking", page)

    def test_what_selections_took_is_printed(self):
        with tempfile.TemporaryDirectory() as folder:
            done = run_audit(Synthetic(["gates"]).cell(FLAT, {"gates": (0, 1)}, tokens=200_000).write(folder))
            page = pathlib.Path(folder, "audit.html").read_text()
        self.assertRegex(done.stdout, r"tokens +FLOPs +time +against")
        self.assertRegex(done.stdout, r"gates .* 200 k +200 G +3.33 min +\(reference\)")
        # In the table of selectors and in that of selections.
        self.assertEqual(page.count('<th scope="col">FLOPs</th><th scope="col">Time</th>'), 2)
        self.assertEqual(page.count("<td>200 k</td><td>200 G</td><td>3.33 min</td>"), 2)


class Tasks(unittest.TestCase):
    # Of three choices the first is the best of recall, the second of hop, the third of both together.
    LANDSCAPE = {
        (0, 1): {"recall": [0.0] * 4, "hop": [4.0] * 4},
        (1, 2): {"recall": [5.0] * 4, "hop": [1.0] * 4},
        (2, 3): {"recall": [1.0] * 4, "hop": [1.5] * 4},
    }

    def synthetic(self, **options):
        return Synthetic(["gates"]).cell(self.LANDSCAPE, {"gates": (0, 1)}, tasks=("recall", "hop"), **options)

    def test_regret_by_task(self):
        synthetic = self.synthetic().cell(self.LANDSCAPE, {"gates": (1, 2)}, tasks=("recall", "hop"), budget=3)
        gates, exhaustive = results_of(synthetic).summary
        self.assertEqual(
            {task: (means.kl, means.regret, means.correct) for task, means in gates.by_task.items()},
            {"recall": (2.5, 2.5, 0.5), "hop": (2.5, 1.5, 0.5)},
        )
        # One choice for both tasks costs each of them something.
        self.assertEqual({task: means.regret for task, means in exhaustive.by_task.items()}, {"recall": 1, "hop": 0.5})
        line = results_of(self.synthetic(complete=False)).summary[0]
        self.assertEqual({task: means.regret for task, means in line.by_task.items()}, {"recall": None, "hop": None})

    def test_tasks_of_one_base_alone(self):
        synthetic = self.synthetic().cell(FLAT, {"gates": (2, 3)}, base="other")
        by_task = results_of(synthetic).summary[0].by_task
        self.assertEqual((by_task["recall"].kl, by_task["hop"].kl), (4, 4))

    def test_a_table_of_tasks_with_their_additivity(self):
        landscape = {
            kept: {"recall": [np.exp(sum(kept))] * 2, "hop": [1.0 + (kept == (0, 1))] * 2} for kept in subsets(4, 2)
        }
        synthetic = Synthetic(["gates"]).cell(landscape, {"gates": (0, 1)}, tasks=("recall", "hop"))
        with tempfile.TemporaryDirectory() as folder:
            run_audit(synthetic.write(folder))
            page = pathlib.Path(folder, "audit.html").read_text()
            written = json.loads(pathlib.Path(folder, "audit.json").read_text())
        # As in test_an_interaction, of the logarithm.
        self.assertRegex(page, r'<th scope="col">recall, R² 1.00</th><th scope="col">hop, R² -?0.00</th>')
        self.assertIn('<tr><th scope="row">gates</th><td>0.0000</td><td>1.0000</td></tr>', page)
        self.assertEqual(written["summary"][0]["by_task"]["hop"], {"kl": 2, "correct": 0.5, "regret": 1})


class Teacher(unittest.TestCase):
    def synthetic(self, bases=("tiny",)):
        landscape = {kept: {"recall": values, "hop": values} for kept, values in FLAT.items()}
        synthetic = Synthetic(["gates"])
        for base in bases:
            for seed, share in ((0, 0.97), (1, 0.99)):
                # Budgets of a seed share samples: they count once.
                for budget in (2, 3) if seed == 0 else (2,):
                    synthetic.cell(
                        landscape,
                        {"gates": (0, 1)},
                        base=base,
                        seed=seed,
                        budget=budget,
                        tasks=("recall", "hop"),
                        teacher={"recall": share, "hop": 0.5},
                    )
        return synthetic

    def test_over_seeds(self):
        teacher = results_of(self.synthetic()).teacher["tiny"]
        self.assertAlmostEqual(teacher["recall"].correct, 0.98)
        self.assertEqual((teacher["recall"].samples, teacher["hop"]), (8, cells.Answers(0.5, 8)))

    def test_files_that_do_not_say(self):
        self.assertEqual(one_cell(FLAT, {"gates": (0, 1)}).teacher, {})

    def test_is_printed_and_what_it_does_not_solve_is_marked(self):
        with tempfile.TemporaryDirectory() as folder:
            done = run_audit(self.synthetic().write(folder))
            page = pathlib.Path(folder, "audit.html").read_text()
            written = json.loads(pathlib.Path(folder, "audit.json").read_text())
        self.assertIn("\nteacher: recall .98 of tokens, hop .50 of tokens (below .8)\n", done.stdout)
        self.assertIn('<span class="marked">hop, R²', page)
        self.assertIn('<span class="marked">hop</span></th><td>tiny</td><td>50.0</td><td>8</td><td>yes</td>', page)
        self.assertIn('<th scope="row">recall</th><td>tiny</td><td>98.0</td><td>8</td><td>no</td>', page)
        self.assertEqual(written["teacher"]["tiny"]["hop"], {"correct": 0.5, "samples": 8})
        with tempfile.TemporaryDirectory() as folder:
            done = run_audit(self.synthetic(("a", "b")).write(folder))
        self.assertIn("\nteacher a: recall .98 of tokens, hop .50 of tokens (below .8)\nteacher b: recall", done.stdout)


class Bootstrap(unittest.TestCase):
    def test_coverage(self):
        """Of 95 % intervals about as many hold the truth, where seeds and samples both differ."""
        random = np.random.default_rng(0)
        studies, truth = 1500, 0.3
        seeds = [[truth + random.normal(0, 0.15, (studies, 1)) + random.normal(0, 1, (studies, 32))] for _ in range(12)]
        resampled = estimates.two_stage_means(seeds, 600, random)
        low, high = np.array(estimates.interval_of(resampled, 0.95)).T
        covered = np.mean((low <= truth) & (truth <= high))
        self.assertTrue(0.93 <= covered <= 0.985, covered)

    def test_samples_are_drawn_with_replacement(self):
        vectors = np.random.default_rng(1).normal(size=(1, 50))
        means = estimates.sample_means(vectors, 20000, np.random.default_rng(2))
        self.assertAlmostEqual(means.std() / (vectors.std() / 50**0.5), 1, delta=0.03)

    def test_seeds_are_drawn_with_replacement(self):
        means = estimates.two_stage_means([[np.zeros((1, 3))], [np.ones((1, 3))]], 20000, np.random.default_rng(0))
        values, counts = np.unique(means, return_counts=True)
        self.assertEqual(values.tolist(), [0, 0.5, 1])
        for share, expected in zip(counts / 20000, (0.25, 0.5, 0.25), strict=True):
            self.assertAlmostEqual(share, expected, delta=0.02)

    def test_samples_of_tasks_are_drawn_for_themselves(self):
        vectors = np.array([[0.0, 1.0]])
        means = estimates.two_stage_means([[vectors, vectors]], 20000, np.random.default_rng(0))
        # The mean of four fair coins, not of two that count twice.
        self.assertAlmostEqual(means.std(), 0.25, delta=0.01)

    def test_pieces_of_resamples_are_as_good_as_all_at_once(self):
        before, estimates.WEIGHTS_AT_A_TIME = estimates.WEIGHTS_AT_A_TIME, 100
        try:
            means = estimates.sample_means(np.array([[0.0, 1.0, 2.0]]), 1000, np.random.default_rng(0))
        finally:
            estimates.WEIGHTS_AT_A_TIME = before
        self.assertAlmostEqual(means.mean(), 1, delta=0.06)
        self.assertAlmostEqual(means.std(), (2 / 9) ** 0.5, delta=0.03)

    def test_resamples_are_the_same_for_both_selectors_and_all_budgets(self):
        # Samples differ by far more than selectors do, yet the difference is the same in each: no resample changes it.
        synthetic = Synthetic(["gates", "drop"])
        for budget, difference in ((2, 0.1), (3, 0.3)):
            synthetic.cell(shifted([difference] * 9), {"gates": (2, 3), "drop": (0, 1)}, budget=budget)
        # Differences of budgets cancel in each sample.
        for budget, sign in ((4, 1), (5, -1)):
            synthetic.cell(shifted((sign * np.arange(9.0)).tolist()), {"gates": (2, 3), "drop": (0, 1)}, budget=budget)
        comparison = results_of(synthetic).comparisons[0]
        self.assertAlmostEqual(comparison.difference, 0.1)
        self.assertAlmostEqual(comparison.interval[0], 0.1)
        self.assertAlmostEqual(comparison.interval[1], 0.1)

    def test_bases_with_the_same_questions_see_the_same_draws(self):
        # What two bases make of the same questions is the same: a second base adds nothing, and tells nothing.
        random = np.random.default_rng(4)
        landscapes = [shifted(random.normal(0.2 * seed, 1, 12).tolist()) for seed in range(3)]
        synthetic = Synthetic(["gates", "drop"], resamples=2000)
        for base in ("a", "b", "c"):
            for seed, landscape in enumerate(landscapes):
                synthetic.cell(landscape, {"gates": (2, 3), "drop": (0, 1)}, base=base, seed=seed)
        found = {comparison.base: comparison.interval for comparison in results_of(synthetic).comparisons}
        for base in ("a", "b", "c"):
            np.testing.assert_allclose(found[base], found[None], rtol=1e-9)
        # Other questions are drawn for themselves.
        synthetic.cell(shifted(random.normal(0, 1, 13).tolist()), {"gates": (2, 3), "drop": (0, 1)}, base="d")
        found = {comparison.base: comparison.interval for comparison in results_of(synthetic).comparisons}
        self.assertFalse(np.allclose(found[None], found["a"]))

    def test_error_over_bases_with_the_same_questions(self):
        """A question is as hard for all bases: the bootstrap's error is that of other questions."""
        random = np.random.default_rng(6)
        true, said = [], []
        for _ in range(60):
            questions = random.normal(0, 1, (3, 16))
            own = random.normal(0, 1, (4, 3, 16))
            cells_of = [
                cell_of(np.array([np.zeros(16), questions[seed] + own[base, seed]]), base=str(base), seed=seed)
                for base in range(4)
                for seed in range(3)
            ]
            quantity = estimates.Quantity(
                tuple(cells_of), tuple(estimates.samples_of(cell, 1) for cell in cells_of)
            )
            (found,) = estimates.estimate(audit_of(cells_of), "selection", [quantity])
            low, high = found[None].interval
            true.append(found[None].value)
            said.append((high - low) / (2 * 1.96))
        # Questions: 1 / (3 * 16); what is a base's own: a quarter of that.
        self.assertAlmostEqual(np.std(true), (1.25 / 48) ** 0.5, delta=0.04)
        self.assertGreater(np.mean(said), 0.9 * (1.25 / 48) ** 0.5)

    def test_another_selector_changes_no_interval(self):
        random = np.random.default_rng(3)
        landscape = {kept: random.normal(2, 1, 8).tolist() for kept in subsets(4, 2)}
        picks = {"gates": (0, 1), "drop": (1, 2)}
        few, many = (
            results_of(Synthetic(list(chosen), "gates").cell(landscape, chosen))
            for chosen in (picks, {"add": (0, 2)} | picks)
        )
        for first, second in (
            (row_of(few, "drop").regret_interval, row_of(many, "drop").regret_interval),
            (few.pairs[0].interval, many.pairs[-1].interval),
        ):
            np.testing.assert_allclose(first, second, rtol=1e-12)


class Comparisons(unittest.TestCase):
    def compared(self, differences, seeds=4):
        """The reference stands at (2, 3), the other at (0, 1), this much above it in each of the seeds."""
        synthetic = Synthetic(["reference", "other"])
        for seed in range(seeds):
            synthetic.cell(
                shifted(differences[seed % len(differences)]), {"reference": (2, 3), "other": (0, 1)}, seed=seed
            )
        return results_of(synthetic).comparisons[0]

    def test_verdicts(self):
        for differences, verdict in (
            ([[0.1, 0.2]], "reference better"),
            ([[-0.1, -0.2]], "reference worse"),
            ([[-0.1, 0.2]], "open"),
            ([[-0.1] * 2, [0.1] * 2], "open"),
            ([[0.0, 0.0]], "open"),
        ):
            comparison = self.compared(differences)
            self.assertEqual(comparison.verdict, verdict, comparison)
            self.assertAlmostEqual(comparison.difference, np.mean(differences))
            low, high = comparison.interval
            self.assertEqual(verdict == "open", low <= 0 <= high)

    def test_an_interval_that_ends_at_0_is_open(self):
        self.assertEqual(
            [estimates.verdict(interval, "below", "above") for interval in ((0, 1), (-1, 0), (0, 0), (-2, -1), (1, 2))],
            ["open", "open", "open", "below", "above"],
        )

    def test_equal_choices(self):
        synthetic = Synthetic(["gates", "drop"])
        for seed in range(3):
            synthetic.cell(FLAT, {"gates": (1, 2), "drop": (1, 2)}, seed=seed)
        found = results_of(synthetic).comparisons[0]
        self.assertEqual(
            (found.difference, found.interval, found.verdict, found.cells, found.seeds, found.same),
            (0, (0, 0), "open", 3, 3, 3),
        )

    def test_means_are_nested(self):
        # One base with one cell, one with two seeds of two and one budgets: each base counts alike, in it each seed.
        synthetic = Synthetic(["gates", "drop"])
        for base, seed, budget, difference in (("a", 0, 2, 1.0), ("b", 0, 2, 4.0), ("b", 0, 3, 0.0), ("b", 1, 2, 0.0)):
            synthetic.cell(
                shifted([difference] * 2), {"gates": (2, 3), "drop": (0, 1)}, base=base, seed=seed, budget=budget
            )
        results = results_of(synthetic)
        self.assertEqual(
            [(found.base, found.difference, found.cells, found.seeds) for found in results.comparisons],
            [(None, 1.0, 4, 3), ("a", 1.0, 1, 1), ("b", 1.0, 3, 2)],
        )
        drop = next(line for line in results.summary if line.selector == "drop")
        self.assertAlmostEqual(drop.regret, 1)
        # Nothing differs between resamples but which of the seeds of b is drawn.
        self.assertEqual(drop.regret_interval, (0.5, 1.5))
        self.assertEqual((drop.cells, drop.optimal, drop.rank), (4, 2, (2 + ((2 + 1) / 2 + 1) / 2) / 2))

    def test_what_holds_over_all_bases_comes_first(self):
        synthetic = Synthetic(["gates", "drop", "add"])
        for base in ("a", "b"):
            synthetic.cell(FLAT, {"gates": (0, 1), "drop": (0, 2), "add": (0, 3)}, base=base)
        self.assertEqual(
            [(found.base, found.selector) for found in results_of(synthetic).comparisons],
            [(None, "drop"), (None, "add"), ("a", "drop"), ("b", "drop"), ("a", "add"), ("b", "add")],
        )

    def test_only_cells_in_which_both_stand(self):
        synthetic = Synthetic(["gates", "drop", "add"])
        synthetic.cell(FLAT, {"gates": (0, 1), "drop": (0, 2)}, seed=0)
        synthetic.cell(FLAT, {"gates": (0, 1), "drop": (2, 3), "add": (1, 2)}, seed=1)
        found = {(pair.first, pair.second): (pair.difference, pair.cells) for pair in results_of(synthetic).pairs}
        self.assertEqual(found, {("drop", "gates"): (4, 2), ("add", "gates"): (2, 1), ("drop", "add"): (5, 1)})

    def test_every_two_selectors(self):
        results = one_cell(FLAT, {"gates": (0, 3), "drop": (0, 1), "add": (2, 3)})
        self.assertEqual(
            [(pair.first, pair.second, pair.difference, pair.verdict) for pair in results.pairs],
            [
                ("drop", "gates", -1, "first better"),
                ("add", "gates", 6, "second better"),
                ("drop", "add", -7, "first better"),
            ],
        )

    def test_the_best_uniform_of_each_cell(self):
        picks = {"gates": (0, 3), "uniform:0": (0, 1), "uniform:middle": (1, 2), "uniform:0+refine": (1, 3)}
        synthetic = Synthetic(list(picks)).cell(FLAT, picks)
        other = dict(zip(FLAT, reversed(FLAT.values()), strict=True)) | {(1, 3): [0.0] * 4}
        synthetic.cell(other, picks, seed=1)
        results = results_of(synthetic)
        # Against gates at 2 and 2: uniform:0 has 1 and 8, uniform:middle 3 and 3.
        found = {found.selector: found.difference for found in results.comparisons if found.base is None}
        self.assertEqual(found["uniform:0"], np.mean([1 - 2, 8 - other[0, 3][0]]))
        self.assertEqual(found["best uniform"], np.mean([1 - 2, other[1, 2][0] - other[0, 3][0]]))
        line = next(line for line in results.summary if line.selector == "best uniform")
        self.assertEqual((line.tokens, line.objective), (None, (1 + other[1, 2][0]) / 2))

    def test_the_best_uniform_is_judged_on_samples_that_it_was_not_found_on(self):
        # Halves are one sample each. Found on the first: (0, 1), which the second judges at 3; found on the second:
        # (2, 3), which the first judges at 2.
        picks = {"gates": (0, 2), "uniform:0": (0, 1), "uniform:1": (2, 3)}
        results = one_cell({(0, 1): [0.0, 3.0], (2, 3): [2.0, 2.0], (0, 2): [2.25, 2.25]}, picks)
        found = {found.selector: found.difference for found in results.comparisons if found.base is None}
        self.assertEqual(found["best uniform"], (2 + 3) / 2 - 2.25)
        # Its own line says what is seen in hindsight.
        self.assertEqual(next(line.objective for line in results.summary if line.selector == "best uniform"), 1.5)
        # A single sample has no halves.
        results = one_cell({(0, 1): [0.0], (2, 3): [2.0], (0, 2): [2.0]}, picks)
        self.assertEqual({found.selector for found in results.comparisons}, {"uniform:0", "uniform:1"})

    def test_equal_selectors_are_told_apart_about_as_often_as_the_confidence_says(self):
        """Of six patterns, none better than the reference, the best one of each cell is called better seldom."""
        random = np.random.default_rng(7)
        studies, wrong = 100, 0
        for _ in range(studies):
            cells_of = [
                cell_of(
                    random.normal(2, 1, (7, 48)),
                    seed=seed,
                    budget=budget,
                    picks={"gates": 0} | {f"uniform:{i - 1}": i for i in range(1, 7)},
                )
                for seed in range(3)
                for budget in (2, 3, 4)
            ]
            _, pairs = estimates.compare(audit_of(cells_of), "selection", cells_of)
            (found,) = (pair for pair in pairs if (pair.first, pair.second) == ("best uniform", "gates"))
            wrong += found.verdict != "open"
        self.assertLessEqual(wrong / studies, 0.1)

    def test_after_distillation(self):
        synthetic = Synthetic(["gates", "drop"])
        synthetic.cell(FLAT, {"gates": (0, 1), "drop": (2, 3)})
        synthetic.cell(
            {(0, 1): [0.5] * 4, (2, 3): [0.25] * 4}, {"gates": (0, 1), "drop": (2, 3)}, after="distill", complete=False
        )
        results = results_of(synthetic)
        self.assertEqual(
            [(found.after, found.base, found.difference, found.verdict) for found in results.comparisons],
            [
                ("selection", None, 7, "reference better"),
                ("selection", "tiny", 7, "reference better"),
                ("distill", None, -0.25, "reference worse"),
                ("distill", "tiny", -0.25, "reference worse"),
            ],
        )
        self.assertEqual(
            [(line.after, line.selector, line.objective) for line in results.summary],
            [
                ("selection", "gates", 1),
                ("selection", "drop", 8),
                ("selection", "exhaustive", 1),
                ("distill", "gates", 0.5),
                ("distill", "drop", 0.25),
            ],
        )
        # The same selection counts once.
        self.assertEqual(results.agreement.cells[0], (1, 1, 1))


class Landscape(unittest.TestCase):
    def test_an_additive_landscape(self):
        effects = (0.1, 0.5, 0.2, 0.7, 0.05)
        landscape = {
            kept: [3 - sum(effects[layer] for layer in kept) + noise for noise in (-0.5, 0, 0.5)]
            for kept in subsets(5, 2)
        }
        fit = one_cell(landscape, {"gates": (0, 1)}, layers=5).additivity[0]
        self.assertAlmostEqual(fit.r2, 1)
        self.assertAlmostEqual(fit.adjusted_r2, 1)
        self.assertEqual((fit.choices, fit.parameters, fit.task), (10, 4, "recall"))

    def test_an_interaction(self):
        # One pair of four layers has KL 1, the others 0. SST = 5/6; the best effects give the pair 2/3, its complement
        # -1/3, the others 1/6: SSE = 2/9 + 4/36 = 1/3, R^2 = 3/5; n = 6 and p = 3 make the adjusted one 1 - 2/5 * 5/2.
        landscape = {kept: [float(kept == (0, 1))] * 2 for kept in subsets(4, 2)}
        fit = one_cell(landscape, {"gates": (0, 1)}).additivity[0]
        self.assertAlmostEqual(fit.r2, 3 / 5)
        self.assertAlmostEqual(fit.adjusted_r2, 0)

    def test_three_candidates(self):
        effects = {"full": 0.0, "a": 1.0, "b": 5.0}
        every = [(x, y) for x in effects for y in effects]
        fit = one_cell(
            {key: [effects[key[0]] + 2 * effects[key[1]]] for key in every}, {"gates": ("full", "a")}, layers=2
        ).additivity[0]
        self.assertAlmostEqual(fit.r2, 1)
        self.assertEqual(fit.parameters, 4)
        # A product of centred effects is what a sum of them cannot have.
        fit = one_cell(
            {(x, y): [(effects[x] - 2) * (effects[y] - 2)] for x, y in every}, {"gates": ("full", "a")}, layers=2
        ).additivity[0]
        self.assertAlmostEqual(fit.r2, 0)

    def test_effects_that_multiply_add_in_the_logarithm(self):
        effects = (1.1, 4.0, 2.5, 40.0)
        fit = one_cell({kept: [9 / (effects[kept[0]] * effects[kept[1]])] for kept in subsets(4, 2)}, {"gates": (0, 1)})
        self.assertAlmostEqual(fit.additivity[0].log_r2, 1)
        self.assertAlmostEqual(fit.additivity[0].log_adjusted_r2, 1)
        self.assertLess(fit.additivity[0].r2, 0.95)
        # There is no logarithm of 0.
        fit = one_cell({kept: [float(kept == (0, 1))] for kept in subsets(4, 2)}, {"gates": (0, 1)}).additivity[0]
        self.assertEqual((fit.log_r2, fit.log_adjusted_r2), (None, None))
        self.assertIsNotNone(fit.r2)

    def test_no_variance_and_no_spare_choices(self):
        # Sums of the same samples in another order differ in the last bits.
        orders = dict(zip(subsets(4, 2), itertools.permutations((0.1, 0.2, 0.3)), strict=True))
        fit = one_cell(orders, {"gates": (0, 1)}).additivity[0]
        self.assertEqual((fit.r2, fit.adjusted_r2), (None, None))
        fit = one_cell(
            {kept: [float(kept[0])] for kept in subsets(3, 1)}, {"gates": (0,)}, layers=3, budget=1
        ).additivity[0]
        self.assertAlmostEqual(fit.r2, 1)
        self.assertIsNone(fit.adjusted_r2)
        fit = one_cell({(0, 1): [1.0]}, {"gates": (0, 1)}).additivity[0]
        self.assertEqual((fit.r2, fit.parameters), (None, 0))

    def test_agreement(self):
        synthetic = Synthetic(["gates", "drop", "add"])
        synthetic.cell(FLAT, {"gates": (0, 1), "drop": (0, 2), "add": (2, 3)})
        synthetic.cell(FLAT, {"gates": (0, 3), "drop": (0, 3)}, seed=1)
        agreement = results_of(synthetic).agreement
        self.assertEqual(agreement.selectors, ("gates", "drop", "add", "exhaustive"))
        # gates and drop: a third and 1; gates and add: nothing in the one cell; exhaustive is (0, 1).
        self.assertEqual(agreement.jaccard[0], (1, (1 / 3 + 1) / 2, 0, (1 + 1 / 3) / 2))
        self.assertEqual(agreement.cells[0], (2, 2, 1, 2))
        self.assertEqual(estimates.jaccard((), ()), 1)


class Command(unittest.TestCase):
    TABLE = """synthetic, after selection: 2 cells
  selector      cells  regret          interval  worst rank  above 0  above uniform  tokens  FLOPs  time  against the reference
  ------------  -----  ------  ----------------  ----------  -------  -------------  ------  -----  ----  ---------------------
  gates+refine      2  0.0000  0.0000 to 0.0000      1 of 6        0              0     1 k    1 G   1 s            (reference)
  uniform:0         2  4.0000  1.0000 to 7.0000      6 of 6        2              0     1 k    1 G   1 s       reference better
  best uniform      2  4.0000  1.0000 to 7.0000      6 of 6        2              -       -      -     -       reference better
  exhaustive        2  0.0000  0.0000 to 0.0000      1 of 6        0              0    99 k  9.9 G  99 s                      -

synthetic, after distill: 1 cell
  selector      cells      KL          interval  above uniform  tokens  FLOPs  time  against the reference
  ------------  -----  ------  ----------------  -------------  ------  -----  ----  ---------------------
  gates+refine      1  0.5000  0.5000 to 0.5000              -     1 k    1 G   1 s            (reference)
"""

    def audit(self):
        synthetic = Synthetic(["gates+refine", "uniform:0"])
        synthetic.cell(FLAT, {"gates+refine": (0, 1), "uniform:0": (2, 3)})
        synthetic.cell(FLAT, {"gates+refine": (0, 1), "uniform:0": (0, 3)}, seed=1)
        return synthetic.cell({(0, 1): [0.5] * 3}, {"gates+refine": (0, 1)}, after="distill", complete=False)

    def test_runs_are_equal_byte_for_byte(self):
        with tempfile.TemporaryDirectory() as folder:
            self.audit().write(folder)
            outputs = []
            for _ in range(2):
                done = run_audit(folder)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                outputs.append(
                    [done.stdout, *(pathlib.Path(folder, name).read_bytes() for name in ("audit.json", "audit.html", "regret.svg"))]
                )
            self.assertEqual(outputs[0], outputs[1])
            self.assertEqual(outputs[0][0], self.TABLE)
            self.assertEqual(list(pathlib.Path(folder).glob("*.partial")), [])
            written = json.loads(outputs[0][1])
        self.assertEqual(
            list(written),
            [
                "version",
                "name",
                "rule",
                "rows",
                "comparisons",
                "pairs",
                "additivity",
                "persistence",
                "agreement",
                "summary",
                "teacher",
            ],
        )
        self.assertEqual((written["version"], written["name"]), (1, "synthetic"))
        self.assertTrue(
            {
                "base",
                "selector",
                "seed",
                "budget",
                "kept",
                "objective",
                "rank",
                "percentile",
                "regret",
                "tokens",
                "seconds",
                "after",
            }
            <= set(written["rows"][0])
        )
        for part in ("95 %", "400", "gates+refine", "random seed 0"):
            self.assertIn(part, written["rule"])

    def test_the_random_seed_counts(self):
        random = np.random.default_rng(0)
        landscape = {kept: random.normal(2, 1, 8).tolist() for kept in subsets(4, 2)}
        first, second = (results_of(Synthetic(["a"], seed=seed).cell(landscape, {"a": (2, 3)})) for seed in (0, 1))
        self.assertNotEqual(row_of(first, "a").regret_interval, row_of(second, "a").regret_interval)


if __name__ == "__main__":
    unittest.main()
