// SPDX-License-Identifier: Apache-2.0
// Generated from frontends/spec/SchemaTable.cpp by `morph-translate --spec-structs runtime/spec`.

#include "runtime/spec/Spec.h"

#include "runtime/spec/SpaceVisitors.h"

namespace morph {
namespace detail {

template <> struct Visit<OptimizerSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.key("tasks", section.tasks);
    visitor.key("lr", section.lr, {above(0)});
    visitor.key("lr_end", section.lrEnd, {atLeast(0)});
    visitor.key("schedule", section.schedule);
    visitor.key("warmup", section.warmup, {atLeast(0), atMost(1000000000)});
    visitor.key("betas", section.betas, {atLeast(0), below(1)});
    visitor.key("checkpoint_every", section.checkpointEvery, {atLeast(1), atMost(1000000000)});
    visitor.key("log_every", section.logEvery, {atLeast(1), atMost(1000000000)});
  }
};

template <> struct Visit<TrainingSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    Visit<OptimizerSpec>::run(visitor, section);
    visitor.key("steps", section.steps, {atLeast(0), atMost(1000000000)});
    visitor.key("batch", section.batch, {atLeast(1), atMost(4096)});
    visitor.key("length", section.length, {atLeast(8), atMost(16777216)});
    visitor.key("weight_decay", section.weightDecay, {atLeast(0)});
    visitor.key("clip", section.clip, {above(0)});
    visitor.key("accumulate", section.accumulate, {atLeast(1), atMost(4096)});
    visitor.key("task_fraction", section.taskFraction, {atLeast(0), atMost(1)});
  }
};

template <> struct Visit<ModelSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.key("path", section.path);
    visitor.key("precision", section.precision);
    visitor.key("device", section.device);
    visitor.key("context", section.context, {atLeast(1), atMost(2147483648)});
    visitor.key("threads", section.threads, {atLeast(0), atMost(4096)});
    visitor.key("memory_limit", section.memoryLimit, {above(0)});
    visitor.key("shard", section.shard);
  }
};

template <> struct Visit<DataSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.key("text", section.text);
    visitor.key("weights", section.weights, {above(0), atMost(1e9)});
    visitor.key("fields", section.fields);
    visitor.key("holdout", section.holdout, {atLeast(0), below(1)});
    visitor.key("separate_documents", section.separateDocuments);
    visitor.key("tokenizer", section.tokenizer);
    visitor.key("separator", section.separator);
  }
};

template <> struct Visit<TaskSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.key("name", section.name);
    visitor.key("kind", section.kind);
    visitor.key("path", section.path);
    visitor.key("prompt", section.prompt);
    visitor.key("answer", section.answer);
    visitor.key("space", section.space);
    visitor.key("length", section.length, {atLeast(8), atMost(16777216)});
    visitor.key("needles", section.needles, {atLeast(1), atMost(65536)});
    visitor.key("queries", section.queries, {atLeast(1), atMost(65536)});
    visitor.key("hops", section.hops, {atLeast(1), atMost(65536)});
    visitor.key("keys", section.keys);
    visitor.key("key_length", section.keyLength, {atLeast(1), atMost(4096)});
    visitor.key("values", section.values);
    visitor.key("value_length", section.valueLength, {atLeast(1), atMost(65536)});
    visitor.key("repeats", section.repeats, {atLeast(1), atMost(65536)});
    visitor.key("alpha", section.alpha, {above(1), atMost(16)});
    visitor.key("depth", section.depth, {atLeast(0), atMost(1)});
    visitor.key("background", section.background);
    visitor.key("chat", section.chat);
    visitor.key("key_tokens", section.keyTokens, {atLeast(0), atMost(16777216), count(2)});
    visitor.key("value_tokens", section.valueTokens, {atLeast(0), atMost(16777216), count(2)});
    visitor.key("noise_tokens", section.noiseTokens, {atLeast(0), atMost(16777216), count(2)});
  }
};

template <> struct Visit<PretrainBaseSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.key("layers", section.layers, {atLeast(1), atMost(4096)});
    visitor.key("hidden", section.hidden, {atLeast(1), atMost(131072)});
    visitor.key("heads", section.heads, {atLeast(1), atMost(8192)});
    visitor.key("kv_heads", section.kvHeads, {atLeast(1), atMost(8192)});
    visitor.key("head_dim", section.headDim, {atLeast(2), atMost(8192)});
    visitor.key("ffn", section.ffn, {atLeast(1), atMost(1048576)});
    visitor.key("vocab", section.vocab, {atLeast(2), atMost(16777216)});
    visitor.key("theta", section.theta, {atLeast(1.0001), atMost(1e15)});
    visitor.key("norm_eps", section.normEps, {atLeast(1e-20), atMost(1)});
    visitor.key("max_positions", section.maxPositions, {atLeast(1), atMost(2147483648)});
    visitor.key("tied", section.tied);
    visitor.key("embedding_std", section.embeddingStd, {above(0), atMost(1000)});
    visitor.key("output_scale", section.outputScale, {above(0), atMost(1000)});
  }
};

template <> struct Visit<PretrainPhaseSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.key("steps_max", section.stepsMax, {atLeast(1), atMost(1000000000)});
    visitor.key("batch", section.batch, {atLeast(1), atMost(4096)});
    visitor.key("length", section.length, {atLeast(4), atMost(16777216)});
    visitor.key("tasks", section.tasks);
    visitor.key("needles", section.needles, {atLeast(1), atMost(65536)});
    visitor.key("background", section.background);
    visitor.key("advance_at", section.advanceAt, {above(0), atMost(1)});
  }
};

template <> struct Visit<PretrainSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    Visit<OptimizerSpec>::run(visitor, section);
    visitor.key("weight_decay", section.weightDecay, {atLeast(0)});
    visitor.key("clip", section.clip, {above(0)});
    visitor.key("text_weight", section.textWeight, {atLeast(0)});
    visitor.table("base", section.base);
    visitor.table("phase", section.phase);
  }
};

template <> struct Visit<AlignSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    Visit<TrainingSpec>::run(visitor, section);
    visitor.key("normalize", section.normalize);
    visitor.key("calibration", section.calibration, {atLeast(0), atMost(1000000)});
  }
};

template <> struct Visit<SelectSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    Visit<OptimizerSpec>::run(visitor, section);
    visitor.key("method", section.method);
    visitor.key("steps", section.steps, {atLeast(0), atMost(1000000000)});
    visitor.key("batch", section.batch, {atLeast(1), atMost(4096)});
    visitor.key("accumulate", section.accumulate, {atLeast(1), atMost(4096)});
    visitor.key("task_fraction", section.taskFraction, {above(0), atMost(1)});
    visitor.key("loss", section.loss);
    visitor.key("target", section.target);
    visitor.key("normalize", section.normalize);
    visitor.key("parametrization", section.parametrization);
    visitor.key("pressure", section.pressure);
    visitor.key("lambda", section.lambda, {atLeast(0)});
    visitor.key("unit_samples", section.unitSamples, {atLeast(2), atMost(1000000)});
    visitor.key("anneal", section.anneal, {atLeast(0), atMost(1)});
    visitor.key("layers", section.layers, {atLeast(0), atMost(4096)});
    visitor.key("from", section.from);
    visitor.key("search_tokens", section.searchTokens, {atLeast(1), atMost(1000000000000)});
    visitor.key("refine_errors", section.refineErrors, {atLeast(0)});
    visitor.key("refine_reach", section.refineReach, {atLeast(0)});
    visitor.key("samples", section.samples, {atLeast(2), atMost(1000000)});
  }
};

template <> struct Visit<DistillSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    Visit<TrainingSpec>::run(visitor, section);
    visitor.key("train", section.train);
    visitor.key("rates", section.rates);
    visitor.key("adapters", section.adapters);
    visitor.key("adapter_rank", section.adapterRank, {atLeast(1), atMost(4096)});
    visitor.key("lengths", section.lengths, {atLeast(8), atMost(16777216)});
    visitor.key("loss", section.loss);
    visitor.key("top_tokens", section.topTokens, {atLeast(0), atMost(16777216)});
    visitor.key("streams", section.streams, {atLeast(0)});
    visitor.key("text_weight", section.textWeight, {atLeast(0)});
    visitor.key("text_positions", section.textPositions, {atLeast(1), atMost(16777216)});
    visitor.key("eval_every", section.evalEvery, {atLeast(1), atMost(1000000000)});
    visitor.key("eval_samples", section.evalSamples, {atLeast(2), atMost(1000000)});
    visitor.key("keep", section.keep);
    visitor.key("patience", section.patience, {atLeast(0), atMost(1000000000)});
  }
};

template <> struct Visit<FinetuneSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    Visit<TrainingSpec>::run(visitor, section);
    visitor.key("train", section.train);
    visitor.key("rates", section.rates);
    visitor.key("adapters", section.adapters);
    visitor.key("adapter_rank", section.adapterRank, {atLeast(1), atMost(4096)});
    visitor.key("lengths", section.lengths, {atLeast(8), atMost(16777216)});
    visitor.key("long_documents", section.longDocuments);
  }
};

template <> struct Visit<EvaluateSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.key("tasks", section.tasks);
    visitor.key("lengths", section.lengths, {atLeast(8), atMost(16777216)});
    visitor.key("depths", section.depths, {atLeast(0), atMost(1)});
    visitor.key("samples", section.samples, {atLeast(1), atMost(1000000)});
    visitor.key("generate_samples", section.generateSamples, {atLeast(0), atMost(1000000)});
    visitor.key("batch", section.batch, {atLeast(1), atMost(4096)});
    visitor.key("baselines", section.baselines);
    visitor.key("perplexity_tokens", section.perplexityTokens, {atLeast(0), atMost(1000000000000)});
    visitor.key("perplexity_length", section.perplexityLength, {atLeast(8), atMost(16777216)});
  }
};

template <> struct Visit<ExportSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.key("format", section.format);
    visitor.key("check", section.check);
    visitor.key("tolerance", section.tolerance, {above(0)});
  }
};

template <> struct Visit<AuditVariantSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.key("name", section.name);
    visitor.key("settings", section.settings);
  }
};

template <> struct Visit<AuditSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.key("selectors", section.selectors);
    visitor.key("bases", section.bases);
    visitor.key("seeds", section.seeds, {atLeast(0)});
    visitor.key("budgets", section.budgets, {atLeast(0), atMost(4096)});
    visitor.key("tasks", section.tasks);
    visitor.key("samples", section.samples, {atLeast(2), atMost(1000000)});
    visitor.key("text_samples", section.textSamples, {atLeast(0), atMost(1000000)});
    visitor.key("most_choices", section.mostChoices, {atLeast(0), atMost(100000)});
    visitor.key("distill", section.distill);
    visitor.key("confidence", section.confidence, {above(0), below(1)});
    visitor.key("resamples", section.resamples, {atLeast(100), atMost(1000000)});
    visitor.table("variant", section.variant);
  }
};

template <> struct Visit<ModelInfo> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.key("architecture", section.architecture);
    visitor.key("layers", section.layers, {atLeast(1)});
    visitor.key("hidden", section.hidden, {atLeast(1)});
    visitor.key("ffn", section.ffn, {atLeast(1)});
    visitor.key("heads", section.heads, {atLeast(1)});
    visitor.key("kv_heads", section.kvHeads, {atLeast(1)});
    visitor.key("head_dim", section.headDim, {atLeast(1)});
    visitor.key("vocab", section.vocab, {atLeast(1)});
    visitor.key("max_positions", section.maxPositions, {atLeast(0)});
    visitor.key("norm_eps", section.normEps, {atLeast(0)});
    visitor.key("tied", section.tied);
    visitor.key("dtype", section.dtype);
    visitor.key("parameters", section.parameters, {atLeast(0)});
    visitor.key("has_weights", section.hasWeights);
  }
};

template <> struct Visit<ResolvedSpec> {
  template <typename Visitor, typename Section> static void run(Visitor &visitor, Section &section) {
    visitor.key("version", section.version);
    visitor.key("name", section.name);
    visitor.key("arch", section.arch);
    visitor.key("seed", section.seed, {atLeast(0)});
    visitor.table("model", section.model);
    visitor.table("data", section.data);
    visitor.table("tasks", section.tasks);
    visitor.table("pretrain", section.pretrain);
    visitor.table("align", section.align);
    visitor.table("select", section.select);
    visitor.table("distill", section.distill);
    visitor.table("finetune", section.finetune);
    visitor.table("evaluate", section.evaluate);
    visitor.table("export", section.export_);
    visitor.table("audit", section.audit);
    visitor.table("space", section.space);
    visitor.table("model_info", section.modelInfo);
  }
};

} // namespace detail

const char *toWord(OptimizerSpec::Schedule value) {
  switch (value) {
  case OptimizerSpec::Schedule::Constant:
    return "constant";
  case OptimizerSpec::Schedule::Cosine:
    return "cosine";
  case OptimizerSpec::Schedule::Linear:
    return "linear";
  case OptimizerSpec::Schedule::WarmFlatCooldown:
    return "warm_flat_cooldown";
  }
  return "";
}

const char *toWord(ModelSpec::Precision value) {
  switch (value) {
  case ModelSpec::Precision::Fp32:
    return "fp32";
  case ModelSpec::Precision::Bf16:
    return "bf16";
  }
  return "";
}

const char *toWord(TaskSpec::Kind value) {
  switch (value) {
  case TaskSpec::Kind::Passkeys:
    return "passkeys";
  case TaskSpec::Kind::NiahSingle:
    return "niah_single";
  case TaskSpec::Kind::NiahMultiKey:
    return "niah_multi_key";
  case TaskSpec::Kind::NiahMultiValue:
    return "niah_multi_value";
  case TaskSpec::Kind::NiahMultiQuery:
    return "niah_multi_query";
  case TaskSpec::Kind::VariableTracking:
    return "variable_tracking";
  case TaskSpec::Kind::Mqar:
    return "mqar";
  case TaskSpec::Kind::NearKeys:
    return "near_keys";
  case TaskSpec::Kind::Induction:
    return "induction";
  case TaskSpec::Kind::TwoHop:
    return "two_hop";
  case TaskSpec::Kind::Counting:
    return "counting";
  case TaskSpec::Kind::CommonWords:
    return "common_words";
  case TaskSpec::Kind::FrequentWords:
    return "frequent_words";
  case TaskSpec::Kind::Jsonl:
    return "jsonl";
  case TaskSpec::Kind::Qa:
    return "qa";
  }
  return "";
}

const char *toWord(TaskSpec::Space value) {
  switch (value) {
  case TaskSpec::Space::Words:
    return "words";
  case TaskSpec::Space::Tokens:
    return "tokens";
  }
  return "";
}

const char *toWord(TaskSpec::Keys value) {
  switch (value) {
  case TaskSpec::Keys::Words:
    return "words";
  case TaskSpec::Keys::Numbers:
    return "numbers";
  case TaskSpec::Keys::Uuid:
    return "uuid";
  }
  return "";
}

const char *toWord(TaskSpec::Values value) {
  switch (value) {
  case TaskSpec::Values::Number:
    return "number";
  case TaskSpec::Values::Words:
    return "words";
  case TaskSpec::Values::Uuid:
    return "uuid";
  }
  return "";
}

const char *toWord(TaskSpec::Background value) {
  switch (value) {
  case TaskSpec::Background::Text:
    return "text";
  case TaskSpec::Background::Noise:
    return "noise";
  case TaskSpec::Background::Repeat:
    return "repeat";
  }
  return "";
}

const char *toWord(AlignSpec::Normalize value) {
  switch (value) {
  case AlignSpec::Normalize::Relative:
    return "relative";
  case AlignSpec::Normalize::Mean:
    return "mean";
  case AlignSpec::Normalize::Rows:
    return "rows";
  }
  return "";
}

const char *toWord(SelectSpec::Loss value) {
  switch (value) {
  case SelectSpec::Loss::Kl:
    return "kl";
  case SelectSpec::Loss::Ce:
    return "ce";
  case SelectSpec::Loss::FinalHidden:
    return "final_hidden";
  case SelectSpec::Loss::Layers:
    return "layers";
  }
  return "";
}

const char *toWord(SelectSpec::Target value) {
  switch (value) {
  case SelectSpec::Target::Teacher:
    return "teacher";
  case SelectSpec::Target::Local:
    return "local";
  }
  return "";
}

const char *toWord(SelectSpec::Parametrization value) {
  switch (value) {
  case SelectSpec::Parametrization::Clamp:
    return "clamp";
  case SelectSpec::Parametrization::Softmax:
    return "softmax";
  case SelectSpec::Parametrization::Sparsemax:
    return "sparsemax";
  }
  return "";
}

const char *toWord(SelectSpec::Pressure value) {
  switch (value) {
  case SelectSpec::Pressure::Budget:
    return "budget";
  case SelectSpec::Pressure::Relative:
    return "relative";
  case SelectSpec::Pressure::Raw:
    return "raw";
  }
  return "";
}

const char *toWord(DistillSpec::Train value) {
  switch (value) {
  case DistillSpec::Train::Linear:
    return "linear";
  case DistillSpec::Train::All:
    return "all";
  }
  return "";
}

const char *toWord(DistillSpec::Loss value) {
  switch (value) {
  case DistillSpec::Loss::Kl:
    return "kl";
  case DistillSpec::Loss::ReverseKl:
    return "reverse_kl";
  }
  return "";
}

const char *toWord(DistillSpec::Keep value) {
  switch (value) {
  case DistillSpec::Keep::Best:
    return "best";
  case DistillSpec::Keep::Last:
    return "last";
  }
  return "";
}

const char *toWord(ExportSpec::Format value) {
  switch (value) {
  case ExportSpec::Format::Auto:
    return "auto";
  case ExportSpec::Format::Native:
    return "native";
  case ExportSpec::Format::Remote:
    return "remote";
  }
  return "";
}

const char *toWord(AuditSpec::Distill value) {
  switch (value) {
  case AuditSpec::Distill::None:
    return "none";
  case AuditSpec::Distill::Chosen:
    return "chosen";
  case AuditSpec::Distill::Every:
    return "every";
  }
  return "";
}

StatusOr<ResolvedSpec> readSpec(const Json &json, const std::string &where) {
  return detail::readSection<ResolvedSpec>(json, where);
}

Json toJson(const OptimizerSpec &section) { return detail::writeSection(section); }
Json toJson(const TrainingSpec &section) { return detail::writeSection(section); }
Json toJson(const ModelSpec &section) { return detail::writeSection(section); }
Json toJson(const DataSpec &section) { return detail::writeSection(section); }
Json toJson(const TaskSpec &section) { return detail::writeSection(section); }
Json toJson(const PretrainBaseSpec &section) { return detail::writeSection(section); }
Json toJson(const PretrainPhaseSpec &section) { return detail::writeSection(section); }
Json toJson(const PretrainSpec &section) { return detail::writeSection(section); }
Json toJson(const AlignSpec &section) { return detail::writeSection(section); }
Json toJson(const SelectSpec &section) { return detail::writeSection(section); }
Json toJson(const DistillSpec &section) { return detail::writeSection(section); }
Json toJson(const FinetuneSpec &section) { return detail::writeSection(section); }
Json toJson(const EvaluateSpec &section) { return detail::writeSection(section); }
Json toJson(const ExportSpec &section) { return detail::writeSection(section); }
Json toJson(const AuditVariantSpec &section) { return detail::writeSection(section); }
Json toJson(const AuditSpec &section) { return detail::writeSection(section); }
Json toJson(const ModelInfo &section) { return detail::writeSection(section); }
Json toJson(const ResolvedSpec &section) { return detail::writeSection(section); }

} // namespace morph
