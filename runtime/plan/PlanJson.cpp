// SPDX-License-Identifier: Apache-2.0
// Plans as JSON. One value, weight and instruction a line, so that a plan can be read and compared.

#include "runtime/base/AtomicFile.h"
#include "runtime/base/Json.h"
#include "runtime/base/Sha256.h"
#include "runtime/plan/DeviceCodeJson.h"
#include "runtime/plan/OpTable.h"

#include <filesystem>

namespace morph::plan {

namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr const char *kFormat = "morph-plan";

const std::pair<DType, const char *> kDTypes[] = {
    {DType::F32, "f32"}, {DType::F16, "f16"}, {DType::BF16, "bf16"}, {DType::F64, "f64"}, {DType::I64, "i64"}};

//===----------------------------------------------------------------------===//
// Reading
//===----------------------------------------------------------------------===//

/// Reads the parts of a plan; every function returns an error that starts with the place.
class PlanReader {
public:
  PlanReader(const Json &root, std::string where) : root(root), where(std::move(where)) {}

  StatusOr<Plan> read() {
    MORPH_ASSIGN_OR_RETURN(std::string format, jsonGet<std::string>(root, "format", where));
    if (format != kFormat)
      return Status::invalid(where + ": 'format' is '" + format + "', expected '" + kFormat + "'");
    MORPH_ASSIGN_OR_RETURN(int64_t version, jsonGet<int64_t>(root, "version", where));
    if (version != kPlanVersion)
      return Status::invalid(where + ": plan of version " + std::to_string(version) + ", this program reads version " +
                                 std::to_string(kPlanVersion),
                             version > kPlanVersion ? "update this program, or emit the plan with its own compiler"
                                                    : "emit the plan again with this compiler");
    MORPH_RETURN_IF_ERROR(
        onlyMembers(root, where,
                    {"format", "version", "model", "program", "values", "inputs", "outputs", "weights", "rope_tables",
                     "instructions", "kernels", "kernel_object", "devices", "update"}));
    MORPH_ASSIGN_OR_RETURN(plan.model, jsonGet<std::string>(root, "model", where));
    MORPH_ASSIGN_OR_RETURN(plan.program, jsonGet<std::string>(root, "program", where));
    MORPH_RETURN_IF_ERROR(each(root, where, "values", [&](const Json &json, const std::string &at) {
      return readValue(json, at, plan.values);
    }));
    MORPH_RETURN_IF_ERROR(each(root, where, "inputs", [&](const Json &json, const std::string &at) {
      return readNamed(json, at, plan.inputs);
    }));
    MORPH_RETURN_IF_ERROR(each(root, where, "outputs", [&](const Json &json, const std::string &at) {
      return readNamed(json, at, plan.outputs);
    }));
    MORPH_RETURN_IF_ERROR(
        each(root, where, "weights", [&](const Json &json, const std::string &at) { return readWeight(json, at); }));
    MORPH_RETURN_IF_ERROR(readTables());
    MORPH_RETURN_IF_ERROR(each(root, where, "instructions", [&](const Json &json, const std::string &at) {
      return readInstruction(json, at, plan.instructions);
    }));
    MORPH_RETURN_IF_ERROR(
        each(root, where, "kernels", [&](const Json &json, const std::string &at) { return readKernel(json, at); }));
    MORPH_ASSIGN_OR_RETURN(plan.kernelObject, jsonGetOr<std::string>(root, "kernel_object", "", where));
    if (root.contains("devices"))
      MORPH_RETURN_IF_ERROR(each(root, where, "devices", [&](const Json &json, const std::string &at) -> Status {
        MORPH_ASSIGN_OR_RETURN(DeviceCode code, readDeviceCode(json, at));
        plan.devices.push_back(std::move(code));
        return Status();
      }));
    if (auto update = root.find("update"); update != root.end()) {
      MORPH_ASSIGN_OR_RETURN(Plan inner, PlanReader(*update, where + ": update").read());
      plan.update = std::make_shared<const Plan>(std::move(inner));
    }
    return std::move(plan);
  }

private:
  const Json &root;
  std::string where;
  Plan plan;

  template <typename Function>
  static Status each(const Json &object, const std::string &where, const char *key, Function &&function) {
    auto found = object.find(key);
    if (found == object.end() || !found->is_array())
      return Status::invalid(where + ": '" + key + "' must be an array");
    size_t i = 0;
    for (const Json &element : *found)
      MORPH_RETURN_IF_ERROR(function(element, where + ": " + key + "[" + std::to_string(i++) + "]"));
    return Status();
  }

  static Status onlyMembers(const Json &object, const std::string &at, const std::set<std::string> &known) {
    if (!object.is_object())
      return Status::invalid(at + ": expected an object");
    for (const auto &[key, value] : object.items())
      if (!known.count(key))
        return Status::invalid(at + ": unknown member '" + key + "'");
    return Status();
  }

  static StatusOr<DType> readDType(const Json &json, const std::string &at) {
    MORPH_ASSIGN_OR_RETURN(std::string name, jsonGet<std::string>(json, "dtype", at));
    for (const auto &[value, known] : kDTypes)
      if (name == known)
        return value;
    return Status::invalid(at + ": unknown dtype '" + name + "'", "known ones are f32, f16, bf16, f64, i64");
  }

  static Status readValue(const Json &json, const std::string &at, std::vector<TensorType> &values) {
    MORPH_RETURN_IF_ERROR(onlyMembers(json, at, {"shape", "dtype"}));
    TensorType type;
    MORPH_ASSIGN_OR_RETURN(type.dtype, readDType(json, at));
    auto shape = json.find("shape");
    if (shape == json.end() || !shape->is_array())
      return Status::invalid(at + ": 'shape' must be an array");
    for (const Json &dim : *shape) {
      if (morph::detail::JsonKind<int64_t>::is(dim))
        type.shape.push_back(dim.get<int64_t>());
      else if (dim.is_string())
        type.shape.push_back(dim.get<std::string>());
      else
        return Status::invalid(at + ": 'shape' must hold integers and names, not " + jsonExcerpt(dim));
    }
    values.push_back(std::move(type));
    return Status();
  }

  static Status readNamed(const Json &json, const std::string &at, std::vector<NamedValue> &values) {
    MORPH_RETURN_IF_ERROR(onlyMembers(json, at, {"name", "value"}));
    NamedValue value;
    MORPH_ASSIGN_OR_RETURN(value.name, jsonGet<std::string>(json, "name", at));
    MORPH_ASSIGN_OR_RETURN(value.value, jsonGet<int64_t>(json, "value", at));
    values.push_back(std::move(value));
    return Status();
  }

  Status readWeight(const Json &json, const std::string &at) {
    MORPH_RETURN_IF_ERROR(onlyMembers(
        json, at, {"name", "shape", "dtype", "value", "trainable", "gate", "layer", "teacher_of", "pieces", "init"}));
    Weight weight;
    MORPH_ASSIGN_OR_RETURN(weight.name, jsonGet<std::string>(json, "name", at));
    MORPH_ASSIGN_OR_RETURN(weight.shape, jsonGet<std::vector<int64_t>>(json, "shape", at));
    MORPH_ASSIGN_OR_RETURN(weight.dtype, readDType(json, at));
    MORPH_ASSIGN_OR_RETURN(weight.trainable, jsonGetOr<bool>(json, "trainable", false, at));
    MORPH_ASSIGN_OR_RETURN(weight.gate, jsonGetOr<bool>(json, "gate", false, at));
    MORPH_ASSIGN_OR_RETURN(weight.layer, jsonGetOr<int64_t>(json, "layer", -1, at));
    MORPH_ASSIGN_OR_RETURN(weight.teacherOf, jsonGetOr<std::string>(json, "teacher_of", "", at));
    MORPH_RETURN_IF_ERROR(readPieces(json, at, weight.pieces));
    if (auto init = json.find("init"); init != json.end() && !init->is_null()) {
      MORPH_ASSIGN_OR_RETURN(weight.init, readInit(*init, at + ".init"));
    }
    MORPH_ASSIGN_OR_RETURN(int64_t value, jsonGet<int64_t>(json, "value", at));
    plan.weightValues.push_back(value);
    plan.weights.push_back(std::move(weight));
    return Status();
  }

  static StatusOr<Init> readInit(const Json &json, const std::string &at) {
    MORPH_RETURN_IF_ERROR(onlyMembers(json, at, {"kind", "source", "heads", "times", "value", "values", "pieces"}));
    Init init;
    MORPH_ASSIGN_OR_RETURN(init.kind, jsonGet<std::string>(json, "kind", at));
    MORPH_ASSIGN_OR_RETURN(init.source, jsonGetOr<std::string>(json, "source", "", at));
    MORPH_ASSIGN_OR_RETURN(init.heads, jsonGetOr<int64_t>(json, "heads", 0, at));
    MORPH_ASSIGN_OR_RETURN(init.times, jsonGetOr<int64_t>(json, "times", 0, at));
    MORPH_ASSIGN_OR_RETURN(init.value, jsonGetOr<double>(json, "value", 0, at));
    MORPH_ASSIGN_OR_RETURN(init.values, jsonGetOr<std::vector<double>>(json, "values", {}, at));
    MORPH_RETURN_IF_ERROR(readPieces(json, at, init.pieces));
    return init;
  }

  /// The member `pieces`, which may be absent.
  static Status readPieces(const Json &json, const std::string &at, std::vector<Piece> &pieces) {
    if (!json.contains("pieces"))
      return Status();
    return each(json, at, "pieces", [&](const Json &element, const std::string &where) {
      MORPH_RETURN_IF_ERROR(onlyMembers(element, where, {"tensor", "rows"}));
      Piece piece;
      MORPH_ASSIGN_OR_RETURN(piece.tensor, jsonGet<std::string>(element, "tensor", where));
      if (element.contains("rows")) {
        MORPH_ASSIGN_OR_RETURN(const auto rows, jsonGet<std::vector<int64_t>>(element, "rows", where));
        if (rows.size() != 2 || rows[0] < 0 || rows[0] >= rows[1])
          return Status::invalid(where + ": 'rows' must be a begin and a greater end");
        piece.begin = rows[0];
        piece.end = rows[1];
      }
      pieces.push_back(std::move(piece));
      return Status();
    });
  }

  Status readTables() {
    auto tables = root.find("rope_tables");
    if (tables == root.end())
      return Status();
    if (!tables->is_object())
      return Status::invalid(where + ": 'rope_tables' must be an object");
    for (const auto &[name, json] : tables->items()) {
      std::string at = where + ": rope_tables." + name;
      MORPH_RETURN_IF_ERROR(onlyMembers(json, at, {"inverse_frequencies", "attention_factor"}));
      RopeTable table;
      MORPH_ASSIGN_OR_RETURN(table.inverseFrequencies, jsonGet<std::vector<double>>(json, "inverse_frequencies", at));
      MORPH_ASSIGN_OR_RETURN(table.attentionFactor, jsonGetOr<double>(json, "attention_factor", 1, at));
      plan.ropeTables[name] = std::move(table);
    }
    return Status();
  }

  Status readKernel(const Json &json, const std::string &at) {
    MORPH_RETURN_IF_ERROR(
        onlyMembers(json, at, {"name", "rows", "values", "arguments", "instructions", "results", "in_place"}));
    Kernel kernel;
    MORPH_ASSIGN_OR_RETURN(kernel.name, jsonGet<std::string>(json, "name", at));
    MORPH_ASSIGN_OR_RETURN(kernel.rows, jsonGet<int64_t>(json, "rows", at));
    MORPH_ASSIGN_OR_RETURN(kernel.arguments, jsonGet<int64_t>(json, "arguments", at));
    MORPH_ASSIGN_OR_RETURN(kernel.results, jsonGet<std::vector<int64_t>>(json, "results", at));
    MORPH_ASSIGN_OR_RETURN(kernel.inPlace, jsonGet<std::vector<int64_t>>(json, "in_place", at));
    MORPH_RETURN_IF_ERROR(each(json, at, "values", [&](const Json &value, const std::string &place) {
      return readValue(value, place, kernel.values);
    }));
    MORPH_RETURN_IF_ERROR(each(json, at, "instructions", [&](const Json &instruction, const std::string &place) {
      return readInstruction(instruction, place, kernel.instructions);
    }));
    plan.kernels.push_back(std::move(kernel));
    return Status();
  }

  static Status readInstruction(const Json &json, const std::string &at, std::vector<Instruction> &instructions) {
    MORPH_RETURN_IF_ERROR(onlyMembers(json, at, {"op", "operands", "results", "attributes"}));
    Instruction instruction;
    MORPH_ASSIGN_OR_RETURN(instruction.op, jsonGet<std::string>(json, "op", at));
    MORPH_ASSIGN_OR_RETURN(instruction.operands, jsonGet<std::vector<int64_t>>(json, "operands", at));
    MORPH_ASSIGN_OR_RETURN(instruction.results, jsonGet<std::vector<int64_t>>(json, "results", at));
    if (auto attributes = json.find("attributes"); attributes != json.end()) {
      if (!attributes->is_object())
        return Status::invalid(at + ": 'attributes' must be an object");
      const OpRule *rule = findOpRule(instruction.op);
      for (const auto &[name, value] : attributes->items())
        MORPH_RETURN_IF_ERROR(readAttribute(rule, name, value, at, instruction.attributes[name]));
    }
    instructions.push_back(std::move(instruction));
    return Status();
  }

  static Status readAttribute(const OpRule *rule, const std::string &name, const Json &value, const std::string &at,
                              Attribute &attribute) {
    bool real = false;
    if (rule)
      for (const AttributeRule &expected : rule->attributes)
        real |= expected.name == name && expected.kind == AttributeKind::Real;
    if (value.is_boolean())
      attribute = value.get<bool>();
    else if (value.is_string())
      attribute = value.get<std::string>();
    else if (value.is_number() && (real || value.is_number_float()))
      attribute = value.get<double>();
    else if (morph::detail::JsonKind<int64_t>::is(value))
      attribute = value.get<int64_t>();
    else
      return Status::invalid(at + ": attribute '" + name + "' must be a boolean, number or string, not " +
                             jsonExcerpt(value));
    return Status();
  }
};

//===----------------------------------------------------------------------===//
// Writing
//===----------------------------------------------------------------------===//

OrderedJson toJson(const std::vector<Dim> &shape) {
  OrderedJson json = OrderedJson::array();
  for (const Dim &dim : shape)
    std::visit([&](const auto &size) { json.push_back(size); }, dim);
  return json;
}

OrderedJson toJson(const NamedValue &value) { return {{"name", value.name}, {"value", value.value}}; }

OrderedJson toJson(const std::vector<Piece> &pieces) {
  OrderedJson json = OrderedJson::array();
  for (const Piece &piece : pieces) {
    json.push_back({{"tensor", piece.tensor}});
    if (piece.end)
      json.back()["rows"] = {piece.begin, piece.end};
  }
  return json;
}

OrderedJson toJson(const Init &init) {
  OrderedJson json = {{"kind", init.kind}};
  if (!init.source.empty())
    json["source"] = init.source;
  if (init.heads)
    json["heads"] = init.heads;
  if (init.times)
    json["times"] = init.times;
  if (init.kind == "constant" || init.kind == "normal")
    json["value"] = init.value;
  if (!init.values.empty())
    json["values"] = init.values;
  if (!init.pieces.empty())
    json["pieces"] = toJson(init.pieces);
  return json;
}

OrderedJson toJson(const Weight &weight, int64_t value) {
  OrderedJson json = {
      {"name", weight.name}, {"shape", weight.shape}, {"dtype", dtypeName(weight.dtype)}, {"value", value}};
  if (weight.trainable)
    json["trainable"] = true;
  if (weight.gate)
    json["gate"] = true;
  if (weight.layer >= 0)
    json["layer"] = weight.layer;
  if (!weight.teacherOf.empty())
    json["teacher_of"] = weight.teacherOf;
  if (!weight.pieces.empty())
    json["pieces"] = toJson(weight.pieces);
  if (weight.init)
    json["init"] = toJson(*weight.init);
  return json;
}

OrderedJson toJson(const Instruction &instruction) {
  OrderedJson json = {{"op", instruction.op}, {"operands", instruction.operands}, {"results", instruction.results}};
  if (!instruction.attributes.empty()) {
    OrderedJson attributes = OrderedJson::object();
    for (const auto &[name, attribute] : instruction.attributes)
      std::visit([&, key = name](const auto &value) { attributes[key] = value; }, attribute);
    json["attributes"] = attributes;
  }
  return json;
}

OrderedJson toJson(const TensorType &type) {
  return OrderedJson{{"shape", toJson(type.shape)}, {"dtype", dtypeName(type.dtype)}};
}

OrderedJson toJson(const Kernel &kernel) {
  OrderedJson values = OrderedJson::array(), instructions = OrderedJson::array();
  for (const TensorType &value : kernel.values)
    values.push_back(toJson(value));
  for (const Instruction &instruction : kernel.instructions)
    instructions.push_back(toJson(instruction));
  return {{"name", kernel.name},       {"rows", kernel.rows},        {"arguments", kernel.arguments},
          {"results", kernel.results}, {"in_place", kernel.inPlace}, {"instructions", instructions},
          {"values", values}};
}

/// Text that is not UTF-8 (a name from a hostile file) is written with replacement characters instead of throwing.
std::string dump(const OrderedJson &json) { return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace); }

std::string array(const std::vector<OrderedJson> &elements) {
  if (elements.empty())
    return "[]";
  std::string text = "[\n";
  for (size_t i = 0; i < elements.size(); ++i)
    text += "    " + dump(elements[i]) + (i + 1 < elements.size() ? ",\n" : "\n");
  return text + "  ]";
}

} // namespace

const char *dtypeName(DType dtype) {
  for (const auto &[value, name] : kDTypes)
    if (value == dtype)
      return name;
  return "?";
}

StatusOr<Plan> parsePlan(const std::string &text, const std::string &where) {
  try {
    MORPH_ASSIGN_OR_RETURN(Json root, parseJson(text, where));
    MORPH_ASSIGN_OR_RETURN(Plan plan, PlanReader(root, where).read());
    if (Status status = validate(plan); !status.ok())
      return std::move(status).withContext(where);
    return plan;
  } catch (const std::exception &error) {
    return Status::invalid(where + ": not a plan: " + error.what());
  }
}

/// Reads the PTX of a plan and its update from beside the plan.
static Status readPtx(Plan &plan, const std::filesystem::path &folder) {
  for (DeviceCode &code : plan.devices) {
    if (code.ptx.empty())
      continue;
    const std::string path = (folder / (code.ptx + ".ptx")).string();
    MORPH_ASSIGN_OR_RETURN(code.text, readTextFile(path, kMaximumJsonBytes));
    if (sha256(code.text) != code.ptx)
      return Status::invalid("'" + path + "' is not what its name says: its hash is another",
                             "compile the program again");
  }
  if (!plan.update)
    return Status();
  auto update = std::make_shared<Plan>(*plan.update);
  MORPH_RETURN_IF_ERROR(readPtx(*update, folder));
  plan.update = std::move(update);
  return Status();
}

StatusOr<Plan> readPlan(const std::string &path) {
  MORPH_ASSIGN_OR_RETURN(std::string text, readTextFile(path, kMaximumJsonBytes));
  MORPH_ASSIGN_OR_RETURN(Plan plan, parsePlan(text, path));
  MORPH_RETURN_IF_ERROR(readPtx(plan, std::filesystem::path(path).parent_path()));
  return plan;
}

std::string printPlan(const Plan &plan) {
  auto list = [](const auto &items, auto &&convert) {
    std::vector<OrderedJson> elements;
    for (const auto &item : items)
      elements.push_back(convert(item));
    return array(elements);
  };
  auto named = [](const NamedValue &value) { return toJson(value); };
  std::vector<OrderedJson> weights;
  for (size_t i = 0; i < plan.weights.size(); ++i)
    weights.push_back(toJson(plan.weights[i], i < plan.weightValues.size() ? plan.weightValues[i] : -1));
  OrderedJson tables = OrderedJson::object();
  for (const auto &[name, table] : plan.ropeTables)
    tables[name] = {{"inverse_frequencies", table.inverseFrequencies}, {"attention_factor", table.attentionFactor}};

  std::string text = "{\n";
  text += "  \"format\": \"" + std::string(kFormat) + "\",\n";
  text += "  \"version\": " + std::to_string(kPlanVersion) + ",\n";
  text += "  \"model\": " + dump(plan.model) + ",\n";
  text += "  \"program\": " + dump(plan.program) + ",\n";
  text += "  \"inputs\": " + list(plan.inputs, named) + ",\n";
  text += "  \"outputs\": " + list(plan.outputs, named) + ",\n";
  text += "  \"weights\": " + array(weights) + ",\n";
  text += "  \"rope_tables\": " + dump(tables) + ",\n";
  text += "  \"instructions\": " +
          list(plan.instructions, [](const Instruction &instruction) { return toJson(instruction); }) + ",\n";
  text += "  \"kernels\": " + list(plan.kernels, [](const Kernel &kernel) { return toJson(kernel); }) + ",\n";
  if (!plan.kernelObject.empty())
    text += "  \"kernel_object\": " + dump(plan.kernelObject) + ",\n";
  for (size_t d = 0; d < plan.devices.size(); ++d)
    text += (d == 0 ? "  \"devices\": [" : ", ") + printDeviceCode(plan.devices[d]) +
            (d + 1 == plan.devices.size() ? "],\n" : "");
  if (plan.update)
    text += "  \"update\": " + printPlan(*plan.update) + ",\n";
  text += "  \"values\": " + list(plan.values, [](const TensorType &type) { return toJson(type); });
  return text + "\n}\n";
}

const Kernel *findKernel(const Plan &plan, const Instruction &instruction) {
  auto name = instruction.attributes.find("kernel");
  const std::string *text = name == instruction.attributes.end() ? nullptr : std::get_if<std::string>(&name->second);
  for (const Kernel &kernel : plan.kernels)
    if (text && kernel.name == *text)
      return &kernel;
  return nullptr;
}

Plan planOf(const Kernel &kernel) {
  Plan plan;
  plan.model = "kernel";
  plan.program = kernel.name;
  plan.values = kernel.values;
  for (int64_t i = 0; i < kernel.arguments; ++i)
    plan.inputs.push_back({"a" + std::to_string(i), i});
  for (size_t i = 0; i < kernel.results.size(); ++i)
    plan.outputs.push_back({"r" + std::to_string(i), kernel.results[i]});
  plan.instructions = kernel.instructions;
  return plan;
}

std::string hashKernels(const Plan &plan) {
  std::string text;
  for (const Kernel &kernel : plan.kernels)
    text += dump(toJson(kernel)) + "\n";
  return sha256(text);
}

Status writePlan(const Plan &plan, const std::string &path) { return writeFile(path, printPlan(plan)); }

} // namespace morph::plan
