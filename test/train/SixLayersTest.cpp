// SPDX-License-Identifier: Apache-2.0
// Stages, and parts of them, on the model of six layers.

#include "test/train/SixLayers.h"
#include "runtime/train/Adapters.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/KeptResults.h"
#include "test/plan/WithBf16.h"
#include "test/processes/ProcessesTesting.h"

#include <cmath>
#include <sstream>

namespace morph {
namespace {

TEST_F(SixLayers, PartsOfABatchAddUp) {
  // Means over sequences, over weights of rows, and ratios of sums; sequences that are no multiple of the processes,
  // rows that do not all weigh the same, and a sequence without any.
  for (const std::string program : {"align", "gates", "distill", "gates-hidden"}) {
    context.planPaths["program"] = planPath(program);
    context.precision = Precision::F64;
    BatchStreamOptions data;
    data.batch = 5;
    const auto stream = batches(data);
    for (int64_t emptied : {0, 1}) {
      if (emptied && program == "align")
        continue; // It reads all tokens.
      const auto run = [&](const std::shared_ptr<Processes> &all, NamedTensors &gradients, double &loss) {
        const auto executor = context.executor("program");
        ASSERT_TRUE(executor.ok()) << executor.status().message();
        for (auto &[name, master] : (*executor)->masters())
          if (name.rfind("gate.", 0) == 0)
            master.fill_(0.5); // All full attention would have no error.
        const Division division(all, **executor, 1, data.batch);
        EXPECT_EQ(division.idle(), 0) << program;
        Optimizer optimizer = *Optimizer::create(**executor, all);
        const BatchSource source = division.attachTo([&](int64_t index) -> StatusOr<LoopBatch> {
          MORPH_ASSIGN_OR_RETURN(Batch batch, stream->batch(static_cast<uint64_t>(index)));
          LoopBatch result = loopBatch(batch, (*executor)->plan());
          const int64_t rows = emptied ? batch.positions.numel() / 5 : 0; // Those of the first sequence.
          for (const char *name : {"positions", "targets", "weights"})
            if (auto found = result.inputs.find(name); found != result.inputs.end())
              found->second = found->second.slice(0, rows).contiguous();
          if (auto weights = result.inputs.find("weights"); weights != result.inputs.end())
            weights->second = weights->second * at::arange(1, weights->second.numel() + 1);
          return result;
        });
        ASSERT_TRUE(division.owns(0));
        const auto batch = source(0);
        ASSERT_TRUE(batch.ok()) << batch.status().message();
        double own = 0;
        if (batch->share > 0) {
          const auto outputs =
              division.run(*batch, [&] { return optimizer.addBatch(batch->inputs, batch->share, batch->given); });
          ASSERT_TRUE(outputs.ok()) << outputs.status().message();
          own = outputs->at("loss").item<double>() * batch->share;
        }
        ASSERT_TRUE(optimizer.sumGradients().ok());
        const auto sum = all->sum({own});
        ASSERT_TRUE(sum.ok());
        loss = (*sum)[0];
        for (const auto &[name, gradient] : optimizer.gradients())
          gradients[name] = gradient.clone();
      };
      NamedTensors expected;
      double loss = 0;
      run(std::make_shared<Processes>(), expected, loss);
      ASSERT_FALSE(expected.empty());
      EXPECT_GT(std::abs(loss), 1e-3) << program;
      for (int64_t count : {2, 3, 5}) {
        std::vector<NamedTensors> gradients(static_cast<size_t>(count));
        std::vector<double> losses(static_cast<size_t>(count));
        runProcesses(count, [&](const std::shared_ptr<Processes> &all) {
          const auto rank = static_cast<size_t>(all->rank());
          run(all, gradients[rank], losses[rank]);
        });
        EXPECT_NEAR(losses.back(), loss, 1e-12 + 1e-9 * std::abs(loss)) << program << " " << count;
        for (const auto &[name, gradient] : expected)
          EXPECT_LE((gradients.back().at(name) - gradient).abs().max().item<double>(),
                    1e-12 + 1e-9 * gradient.abs().max().item<double>())
              << program << " " << count << " " << name;
      }
    }
  }
}

TEST_F(SixLayers, ForwardPlansGiveTheSameLossAndNoGradient) {
  for (const std::string program : {"align", "gates", "distill"})
    for (bool half : {false, true}) {
      std::set<std::string> trained;
      for (const std::string &name : {program, program + "-forward"}) {
        plan::Plan plan = *plan::readPlan(planPath(name));
        for (const plan::Weight &weight : plan.weights)
          if (weight.trainable)
            trained.insert(weight.name);
        context.planPaths[name] = folder.file(name + ".json");
        ASSERT_TRUE(plan::writePlan(half ? withBf16(plan, trained) : plan, context.planPaths[name]).ok());
      }
      const auto training = context.executor(program);
      ASSERT_TRUE(training.ok()) << training.status().message();
      const auto forward = context.executor(program + "-forward", training->get());
      ASSERT_TRUE(forward.ok()) << forward.status().message();
      for (const plan::Instruction &instruction : (*forward)->plan().instructions)
        EXPECT_EQ(instruction.op.find("_grad"), std::string::npos) << instruction.op;
      EXPECT_LT((*forward)->plan().instructions.size(), (*training)->plan().instructions.size());
      // What is trained is read where it is trained.
      for (auto &[name, master] : (*training)->masters())
        master.mul_(0.75);
      Optimizer optimizer = *Optimizer::create(**training);
      for (uint64_t i = 0; i < 3; ++i) {
        const Batch batch = *batches()->batch(i);
        const at::Tensor whole =
            optimizer.addBatch(loopBatch(batch, (*training)->plan()).inputs, 1)->at("loss").clone();
        const NamedTensors alone = *(*forward)->run(loopBatch(batch, (*forward)->plan()).inputs);
        EXPECT_TRUE(at::equal(whole, alone.at("loss"))) << program << (half ? " in bf16" : "");
        for (const auto &[name, value] : alone)
          EXPECT_EQ(name.find("grad."), std::string::npos) << name;
      }
    }
}

TEST_F(SixLayers, APlanOfAnotherProgramIsAnError) {
  for (const auto &[name, output] : {std::pair("score", "nll"), {"logits", "logits"}, {"gates", "loss"}}) {
    context.planPaths[name] = planPath(name == std::string("gates") ? "score" : "gates");
    const auto executor = context.executor(name);
    ASSERT_FALSE(executor.ok()) << name;
    EXPECT_EQ(executor.status().code(), StatusCode::InvalidInput);
    EXPECT_NE(executor.status().message().find(std::string("no output '") + output + "'"), std::string::npos)
        << executor.status().message();
  }
}

TEST_F(SixLayers, OutputsHaveTheShapeOfTheirName) {
  // Stages read as many numbers as they asked for rows: of a weight they would read what lies behind it.
  for (const std::string name : {"score", "logits", "decode", "gates", "align"}) {
    Json plan = *readJson(planPath(name == "decode" ? "logits" : name));
    const Json good = plan["outputs"];
    for (size_t output = 0; output < good.size(); ++output) {
      const std::string called = good[output]["name"];
      // The executor compares gradients with their weights; what goes into layers is read by nobody.
      if (called.rfind("grad.", 0) == 0 || called.find(".") != std::string::npos)
        continue;
      plan["outputs"] = good;
      plan["outputs"][output]["value"] = plan["weights"][0]["value"];
      const std::string file = folder.file(name + ".json");
      ASSERT_TRUE(writeFile(file, plan.dump()).ok());
      context.planPaths[name] = file;
      const auto executor = context.executor(name);
      ASSERT_FALSE(executor.ok()) << name << ": " << called;
      EXPECT_EQ(executor.status().code(), StatusCode::InvalidInput);
      EXPECT_NE(executor.status().message().find("whose output '" + called + "' has another shape or type"),
                std::string::npos)
          << executor.status().message();
    }
  }
}

TEST_F(SixLayers, ProbesReadWhatIsNotTrainedOn) {
  context.spec.tasks[0].valueLength = 2;
  const auto once = [](auto &section) {
    section.steps = section.accumulate = 1;
    section.batch = 4;
    section.betas = {0.9, 0.99};
    section.lr = section.lrEnd = 1e-12;
  };
  once(context.spec.align);
  once(context.spec.distill);
  context.spec.distill.evalEvery = 1;
  DistillSpec &distill = context.spec.distill;
  distill.length = 16;
  distill.tasks = {"recall"};
  distill.taskFraction = 1;
  BatchStreamOptions data;
  data.batch = 4;
  data.length = 16;
  data.sample.split = Split::Selection;
  const auto lossesOn = [&](const std::string &name, const std::string &plan) {
    data.stream = name;
    return heldOutLoss(**context.executor(plan), *batches(data), 2)->losses;
  };
  ASSERT_TRUE(runAlign(context).ok());
  const double aligned = (*readJson(context.outPath("align.json")))["held_out_loss"];
  EXPECT_NEAR(aligned, meanAndError(lossesOn("held-out/align", "align-forward")).mean, 1e-6 * aligned);
  context.out = folder.file("distill.partial");
  std::filesystem::create_directories(context.out);
  const auto outcome = runDistill(context);
  ASSERT_TRUE(outcome.ok()) << outcome.status().message();
  const Json summary = *readJson(context.outPath("distill.json"));
  // Sequences one by one: the errors are over them.
  data.batch = 1;
  data.stream = "held-out/distill/recall";
  EXPECT_EQ(summary["held_out_before"]["recall"]["by_sample"].get<std::vector<double>>(),
            heldOutLoss(**context.executor("distill-forward"), *batches(data), distill.evalSamples)->losses);
  EXPECT_EQ(summary["held_out_tokens"].get<int64_t>(), 2 * distill.evalSamples * distill.length) << "before and after";
}

/// What a section needs to train a little, on batches of 4 samples.
template <typename Section> void trainBriefly(Section &section, int64_t steps) {
  section.steps = steps;
  section.accumulate = 1;
  section.batch = 4;
  section.betas = {0.9, 0.99};
  section.lr = section.lrEnd = 1e-2;
  section.length = 16;
  section.tasks = {"recall"};
  section.taskFraction = 1;
  section.checkpointEvery = section.logEvery = 100;
  if constexpr (std::is_same_v<Section, DistillSpec>) {
    section.evalEvery = 100;
    section.evalSamples = 8;
  }
}

/// The plan distill-other, of another selection, as distill, with what of the teacher is in `teacher`.
StageContext otherVariant(const StageContext &context, const std::string &out, const std::string &teacher) {
  StageContext result = context;
  result.out = out;
  result.planPaths["distill"] = planPath("distill-other");
  result.planPaths["distill-forward"] = planPath("distill-other-forward");
  result.teacherDir = teacher;
  result.teacherKey = "key";
  std::filesystem::create_directories(out);
  return result;
}

TEST_F(SixLayers, TheTeacherRunsOnceForAllVariants) {
  BatchStreamOptions data;
  data.batch = 4;
  data.length = 16;
  const auto stream = batches(data);
  KeptResults kept(folder.file("teacher"), "key", {"teacher"});
  auto run = [&](const std::string &plan, bool keeps, int64_t &computed) {
    context.planPaths[plan] = planPath(plan);
    const auto executor = context.executor(plan);
    EXPECT_TRUE(executor.ok()) << executor.status().message();
    computed = 0;
    (*executor)->observe([&](size_t, double) { ++computed; });
    const BatchSource source = batchSource(*stream, (*executor)->plan());
    Optimizer optimizer = *Optimizer::create(**executor);
    const LoopBatch batch = *(keeps ? kept.attachTo(source, "train") : source)(0);
    NamedTensors outputs = *optimizer.addBatch(batch.inputs, 1, batch.given);
    if (batch.keep) {
      EXPECT_TRUE(batch.keep(outputs).ok());
    }
    outputs.erase("teacher");
    for (auto &[name, tensor] : outputs)
      tensor = tensor.clone();
    return outputs;
  };
  // Of the first variant nothing is left out; of the second all that is the teacher's but its head.
  int64_t alone = 0, first = 0, whole = 0, second = 0;
  run("distill", false, alone);
  run("distill", true, first);
  EXPECT_EQ(first, alone);
  const NamedTensors expected = run("distill-other", false, whole), actual = run("distill-other", true, second);
  const auto ofTeacher = context.executor("logits"); // The teacher's instructions, of which the head has two.
  ASSERT_TRUE(ofTeacher.ok());
  EXPECT_GE(whole - second, static_cast<int64_t>((*ofTeacher)->plan().instructions.size()) / 2);
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto &[name, value] : expected)
    EXPECT_TRUE(at::equal(actual.at(name), value)) << name;
}

TEST_F(SixLayers, VariantsEndWithTheSameBitsWhereTheTeacherIsKept) {
  trainBriefly(context.spec.distill, 5);
  context.teacherDir = folder.file("teacher");
  context.teacherKey = "key";
  context.out = folder.file("distill");
  std::filesystem::create_directories(context.out);
  ASSERT_TRUE(runDistill(context).ok());
  EXPECT_TRUE(std::filesystem::exists(folder.file("teacher/teacher/train-4.safetensors")));
  EXPECT_TRUE(std::filesystem::exists(folder.file("teacher/teacher/held-out-recall-1.safetensors")));

  const StageContext alone = otherVariant(context, folder.file("alone"), "");
  const StageContext given = otherVariant(context, folder.file("given"), context.teacherDir);
  ASSERT_TRUE(runDistill(alone).ok());
  requestInterrupt(); // Every start makes one step.
  for (int start = 0; start < 2; ++start)
    EXPECT_EQ(*runDistill(given), StageOutcome::Interrupted);
  requestInterrupt(false);
  std::filesystem::remove(folder.file("teacher/teacher/train-3.safetensors"));
  ASSERT_TRUE(runDistill(given).ok());
  EXPECT_EQ(fileText(given.outPath("weights.safetensors")), fileText(alone.outPath("weights.safetensors")));
  EXPECT_NE(fileText(given.outPath("weights.safetensors")), fileText(context.outPath("weights.safetensors")));
  const Json expected = *readJson(alone.outPath("distill.json")), actual = *readJson(given.outPath("distill.json"));
  for (const char *name : {"first_loss", "last_loss", "held_out_before", "held_out_after"})
    EXPECT_EQ(actual[name], expected[name]) << name;
}

TEST_F(SixLayers, DistillationKeepsTheBestWeights) {
  const auto run = [&](const std::string &name, auto &&change, int interrupts = 0) {
    StageContext own = otherVariant(context, folder.file(name), ""); // Which trains all weights.
    trainBriefly(own.spec.distill, 6);
    own.spec.distill.evalEvery = 2;
    own.spec.distill.logEvery = 5;
    change(own.spec.distill);
    requestInterrupt(interrupts > 0); // Every start makes one step.
    for (int start = 0; start < interrupts; ++start)
      EXPECT_EQ(*runDistill(own), StageOutcome::Interrupted);
    requestInterrupt(false);
    const auto outcome = runDistill(own);
    EXPECT_TRUE(outcome.ok()) << outcome.status().message();
    return own;
  };
  const auto summary = [](const StageContext &stage) { return *readJson(stage.outPath("distill.json")); };
  const auto weights = [](const StageContext &stage) { return fileText(stage.outPath("weights.safetensors")); };
  const auto atStep = [](const Json &of, int64_t step) {
    for (const Json &measured : of["held_out"])
      if (measured["step"] == step)
        return measured["kl"]["recall"].get<double>();
    return -1.0;
  };

  // What helps is kept to the end, and is what the last weights are.
  const StageContext gentle = run("gentle", [](DistillSpec &) {});
  const Json good = summary(gentle);
  ASSERT_EQ(good["held_out"].size(), 4);
  EXPECT_EQ(good["kept_step"], 6);
  EXPECT_LT(atStep(good, 6), atStep(good, 0));
  EXPECT_EQ(good["held_out_after"]["recall"]["kl"], atStep(good, 6));
  // Each measurement after the first has its line of metrics, whatever log_every is.
  std::istringstream metrics(fileText(gentle.outPath("metrics.jsonl")));
  std::vector<int64_t> steps;
  for (std::string text; std::getline(metrics, text);) {
    const Json line = *parseJson(text, "metrics");
    steps.push_back(line["step"]);
    EXPECT_EQ(line.contains("held_out"), steps.back() != 5) << text;
    if (line.contains("held_out")) {
      EXPECT_EQ(line["held_out"]["recall"], atStep(good, steps.back()));
    }
  }
  EXPECT_EQ(steps, (std::vector<int64_t>{2, 4, 5, 6}));
  const StageContext last = run("last", [](DistillSpec &distill) { distill.keep = DistillSpec::Keep::Last; });
  EXPECT_TRUE(weights(last) == weights(gentle));

  // What is worse than the beginning from the first step on leaves the weights as they were.
  const auto ruin = [](DistillSpec &distill) { distill.lr = distill.lrEnd = 10; };
  const StageContext ruined = run("ruined", ruin);
  const Json bad = summary(ruined);
  EXPECT_GT(atStep(bad, 2), atStep(bad, 0));
  EXPECT_EQ(bad["kept_step"], 0);
  EXPECT_EQ(bad["held_out_after"], bad["held_out_before"]);
  const StageContext still = run("still", [](DistillSpec &distill) { distill.lr = distill.lrEnd = 1e-30; });
  EXPECT_TRUE(weights(ruined) == weights(still));
  const StageContext kept = run("kept", [&](DistillSpec &distill) {
    ruin(distill);
    distill.keep = DistillSpec::Keep::Last;
  });
  EXPECT_TRUE(weights(kept) != weights(ruined));
  EXPECT_EQ(summary(kept)["kept_step"], 6);

  // What helps at first and harms later: the weights of between, also of a run that was stopped.
  const auto overshoot = [](DistillSpec &distill) {
    distill.lr = 1e-2;
    distill.lrEnd = 10;
    distill.schedule = TrainingSpec::Schedule::Linear;
    distill.evalEvery = 1;
  };
  const StageContext between = run("between", overshoot);
  const int64_t best = summary(between)["kept_step"];
  EXPECT_GT(best, 0);
  EXPECT_LT(best, 6);
  const StageContext stopped = run("stopped", overshoot, 4);
  EXPECT_TRUE(weights(stopped) == weights(between));
  // Patience ends it after as many measurements without a better one, with the same weights.
  const auto impatient = [&](DistillSpec &distill) {
    overshoot(distill);
    distill.patience = 1;
  };
  const Json ended = summary(run("impatient", impatient));
  EXPECT_EQ(ended["kept_step"], best);
  EXPECT_EQ(ended["steps"], best + 1);
  EXPECT_EQ(ended["held_out"].size(), static_cast<size_t>(best) + 2);
  EXPECT_TRUE(weights(run("impatient", impatient)) == weights(between));
  EXPECT_EQ(summary(stopped)["held_out"], summary(between)["held_out"]);
}

TEST_F(SixLayers, AdaptersAreAddedToTheirMatrices) {
  context.planPaths["adapters"] = planPath("distill-adapters");
  context.planPaths["adapters-forward"] = planPath("distill-adapters-forward");
  context.planPaths["all"] = planPath("distill-all-forward");
  const auto lossOn = [&](Executor &executor) {
    const auto loss = heldOutLoss(executor, *batches(), 8);
    EXPECT_TRUE(loss.ok()) << loss.status().message();
    return loss->loss;
  };
  const auto executor = context.executor("adapters");
  ASSERT_TRUE(executor.ok()) << executor.status().message();
  const auto forward = context.executor("adapters-forward", executor->get());
  ASSERT_TRUE(forward.ok()) << forward.status().message();
  // Of zeros in one half they change nothing.
  const double before = lossOn(**context.executor("distill-forward")), zero = lossOn(**forward);
  EXPECT_NEAR(zero, before, 1e-6 * before);
  int64_t adapters = 0;
  for (auto &[name, master] : (*executor)->masters())
    if (name.find(".lora_B") != std::string::npos) {
      master.copy_(noise(master.sizes(), 0.5, name));
      ++adapters;
    }
  EXPECT_EQ(adapters, 8) << "v_proj of the two layers that keep full attention, up_proj of six";
  const double adapted = lossOn(**forward);
  EXPECT_GT(std::abs(adapted - before), 1e-3 * before);

  const auto merged = mergedWeights(context, **executor);
  ASSERT_TRUE(merged.ok()) << merged.status().message();
  EXPECT_EQ(merged->count("model.layers.0.mlp.up_proj.weight"), 1u);
  EXPECT_EQ(merged->count("model.layers.0.linear_attn.o_proj.weight"), 1u) << "what is trained as it is stays";
  for (const auto &[name, tensor] : *merged)
    EXPECT_EQ(name.find("lora"), std::string::npos) << name;
  const std::string file = folder.file("merged.safetensors");
  ASSERT_TRUE(writeSafetensors(file, *merged).ok());
  context.weightPaths.push_back(file);
  EXPECT_NEAR(lossOn(**context.executor("all")), adapted, 1e-5 * adapted);
}

TEST_F(SixLayers, WavesBeginWhereTheOnesBeforeEnded) {
  trainBriefly(context.spec.align, 4);
  context.out = folder.file("whole");
  std::filesystem::create_directories(context.out);
  ASSERT_TRUE(runAlign(context).ok());

  StageContext waves = context;
  waves.out = folder.file("waves");
  std::filesystem::create_directories(waves.out);
  for (const char *name : {"align-1", "align-2", "align-3"}) {
    waves.planPaths[name] = planPath(name);
    waves.planPaths[std::string(name) + "-forward"] = planPath(std::string(name) + "-forward");
  }
  const std::string streams = waves.outPath("checkpoint.streams/");
  requestInterrupt(); // Every start makes one step; the last of a wave goes on to the first of the next.
  for (int start = 0; start < 5; ++start)
    EXPECT_EQ(*runAlign(waves), StageOutcome::Interrupted);
  // Wave 2 has had two steps, on what wave 1 has left of all.
  EXPECT_TRUE(std::filesystem::exists(streams + "stream.2/train-3.safetensors"));
  EXPECT_TRUE(std::filesystem::exists(streams + "stream.4/train-1.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(streams + "stream.4/train-2.safetensors"));
  requestInterrupt(false);
  ASSERT_TRUE(runAlign(waves).ok());
  EXPECT_EQ(fileText(waves.outPath("branches.safetensors")), fileText(context.outPath("branches.safetensors")));
  EXPECT_FALSE(std::filesystem::exists(streams + "stream.2"));
  EXPECT_FALSE(std::filesystem::exists(streams + "stream.4"));
}

TEST_F(SixLayers, AWaveThatIsGivenItsStreamComputesNothingBelow) {
  KeptResults kept(folder.file("kept"), "", {"stream.2"});
  const auto stream = batches();
  auto flopsOf = [&](const std::string &name) {
    context.planPaths[name] = planPath(name);
    const auto executor = context.executor(name);
    EXPECT_TRUE(executor.ok()) << executor.status().message();
    const LoopBatch batch = *kept.attachTo(batchSource(*stream, (*executor)->plan()), "train")(0);
    EXPECT_TRUE(runBatch(**executor, batch).ok());
    return *batchFlops((*executor)->plan(), batch.inputs, (*executor)->steps());
  };
  flopsOf("align-1-forward");
  const double given = flopsOf("align-2-forward");
  kept.forget("stream.2");
  const double all = flopsOf("align-2-forward");
  // Of four layers in all, two with their candidates; attention is most of a layer here.
  EXPECT_GT(given, 0.5 * all);
  EXPECT_LT(given, 0.8 * all);
}

// The next token depends on the one before alone: a wrong token is followed by another than the true one would be.
TEST_F(SixLayers, GenerateAnswersOfTheEvaluationAfterTheirOwnTokens) {
  TaskSpec &task = context.spec.tasks[0];
  task.valueLength = 3;
  task.length = {24};
  EvaluateSpec &section = context.spec.evaluate;
  section.tasks = {"recall"};
  section.samples = 8;
  section.generateSamples = 6;
  section.batch = 4;
  context.planPaths["score"] = planPath("score-base");
  context.planPaths["decode"] = planPath("decode");
  const auto outcome = runEvaluate(context, {"teacher", "selection"});
  ASSERT_TRUE(outcome.ok()) << outcome.status().message();
  const Json rows = *readJson(context.outPath("rows.json"));
  ASSERT_EQ(rows.size(), 1u);
  const Json &generated = rows[0]["generated"], &forced = rows[0]["teacher_forced"];
  ASSERT_EQ(generated["written"].size(), 6u);
  ASSERT_EQ(forced["by_sample"].size(), 8u);

  const auto tasks = context.tasks({"recall"}, nullptr);
  const auto executor = context.executor("logits");
  ASSERT_TRUE(tasks.ok() && executor.ok());
  const auto next = [&](const std::vector<int64_t> &tokens) {
    const at::Tensor row = at::tensor(tokens, at::kLong).view({1, -1});
    return (*executor)
        ->run({{"tokens", row}, {"positions", at::tensor({row.numel() - 1}, at::kLong)}})
        ->at("logits")
        .argmax()
        .item<int64_t>();
  };
  const uint64_t stream = Random::streamSeed(context.seed, "evaluate/recall/24/drawn");
  bool differs = false;
  double right = 0, rightForced = 0;
  for (uint64_t index = 0; index < 8; ++index) {
    const Sample sample = *(*tasks)[0]->sample(stream, index, 24, {std::nullopt, Split::Evaluation});
    std::vector<int64_t> own = sample.tokens;
    std::vector<int64_t> written, afterTrue;
    for (int64_t position : sample.positions) {
      const auto before = [&](const std::vector<int64_t> &tokens) {
        return std::vector<int64_t>(tokens.begin(), tokens.begin() + position + 1);
      };
      own[static_cast<size_t>(position) + 1] = next(before(own));
      written.push_back(own[static_cast<size_t>(position) + 1]);
      afterTrue.push_back(next(before(sample.tokens)));
    }
    for (size_t i = 0; i < sample.targets.size(); ++i)
      rightForced += afterTrue[i] == sample.targets[i];
    if (index >= 6)
      continue;
    EXPECT_EQ(generated["written"][index].get<std::vector<int64_t>>(), written) << index;
    differs |= written != afterTrue;
    for (size_t answer = 0; answer < 2; ++answer)
      right += std::equal(written.begin() + 3 * answer, written.begin() + 3 * answer + 3,
                          sample.targets.begin() + 3 * answer);
  }
  EXPECT_TRUE(differs) << "the test does not test";
  EXPECT_DOUBLE_EQ(generated["answers"].get<double>(), right / 12);
  EXPECT_DOUBLE_EQ(forced["tokens"].get<double>(), rightForced / 48);
}

TEST_F(SixLayers, HeldOutBatchesAreNotMeasuredTwice) {
  const auto executor = context.executor("gates-forward");
  ASSERT_TRUE(executor.ok());
  const HeldOutCheckpoint checkpoint = {folder.file("batches.safetensors"), "test", "test"};
  for (auto &[name, gate] : (*executor)->masters())
    gate.fill_(0.5);
  const auto straight = heldOutLoss(**executor, *batches(), 8);
  const auto first = heldOutLoss(**executor, *batches(), 3, &checkpoint);
  requestInterrupt();
  const auto stopped = heldOutLoss(**executor, *batches(), 8, &checkpoint);
  ASSERT_TRUE(stopped.ok());
  EXPECT_TRUE(stopped->interrupted);
  requestInterrupt(false);
  const auto resumed = heldOutLoss(**executor, *batches(), 8, &checkpoint);
  ASSERT_TRUE(straight.ok() && first.ok() && resumed.ok());
  EXPECT_EQ(straight->losses, resumed->losses);
  EXPECT_EQ(straight->standardError, resumed->standardError);
  EXPECT_EQ(straight->tokens, resumed->tokens);
  EXPECT_EQ(straight->flops, resumed->flops);
  // With other gates every batch would have another loss: what is in the file stays.
  for (auto &[name, gate] : (*executor)->masters())
    gate.fill_(0.25);
  EXPECT_EQ(heldOutLoss(**executor, *batches(), 8, &checkpoint)->losses, straight->losses);
  EXPECT_NE(heldOutLoss(**executor, *batches(), 8)->losses, straight->losses);
  // Batches with other numbers of layers are no file of this program's.
  Checkpoint odd = **readCheckpoint(checkpoint.path, checkpoint.fingerprint);
  odd.state["layers"] = std::vector<std::vector<double>>(8);
  odd.state["layers"][0] = {1.0, 2.0};
  ASSERT_TRUE(writeCheckpoint(checkpoint.path, odd).ok());
  const auto damaged = heldOutLoss(**executor, *batches(), 8, &checkpoint);
  ASSERT_FALSE(damaged.ok());
  EXPECT_NE(damaged.status().message().find("is damaged"), std::string::npos) << damaged.status().message();
}

TEST_F(SixLayers, GatesThatLeaveCandidatesOutGiveTheSameGradients) {
  const auto executor = context.executor("gates");
  ASSERT_TRUE(executor.ok()) << executor.status().message();
  const NamedTensors inputs = loopBatch(*batches()->batch(0), (*executor)->plan()).inputs;
  auto run = [&](float low, float high, int64_t &computed) {
    int64_t layer = 0;
    for (auto &[name, gate] : (*executor)->masters())
      gate.fill_(layer++ % 2 ? low : high);
    computed = 0;
    (*executor)->observe([&](size_t, double) { ++computed; });
    Optimizer optimizer = *Optimizer::create(**executor); // Without gradients of before.
    NamedTensors outputs = *optimizer.addBatch(inputs, 1);
    for (auto &[name, tensor] : outputs)
      tensor = tensor.clone();
    return outputs;
  };
  int64_t some = 0, all = 0;
  // The nearest numbers that leave every candidate a share.
  const NamedTensors exact = run(0, 1, some), near = run(1e-20f, 1 - 1e-7f, all);
  EXPECT_LT(some, all);
  for (const auto &[name, value] : near)
    EXPECT_TRUE(at::allclose(exact.at(name), value, 1e-4, 1e-6)) << name << exact.at(name) << value;
}

} // namespace
} // namespace morph
