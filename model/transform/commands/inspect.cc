#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <system_error>

#include "absl/strings/match.h"
#include "base/command_line/options.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/stored_weights.h"
#include "model/transform/commands/command.h"
#include "model/transform/inspect/inspection.h"
#include "model/transform/inspect/inspection_report.h"
#include "model/transform/inspect/tensor_listing.h"

namespace peerage::transform {
namespace {

constexpr auto kReplace = nlohmann::ordered_json::error_handler_t::replace;  // names are any bytes

class InspectCommand : public Command {
 public:
  explicit InspectCommand(CLI::App& program)
      : Command(program, "inspect", "Show a model's layers, sizes and costs without its weights",
                {"inspect DIR --context 4096", "inspect checkpoint.pt --key model"}) {
    app()
        .add_option("path", path_,
                    "A model directory, a .gguf file, a config file ending in .json, or weights "
                    "alone: .safetensors, .pt, .pth, .bin")
        ->required()
        ->check([](const std::string& given) { return given.empty() ? "is empty" : ""; })
        ->type_name("PATH");
    app().add_flag("--json", json_, "Print one JSON object");
    app().add_flag("--tensors", tensors_,
                   "List the stored tensors instead: name, dtype, shape, bytes; of weights alone "
                   "always");
    app()
        .add_option("--key", key_,
                    "Of a PyTorch file: the dict whose tensors are listed, by its keys with dots "
                    "between; else the one with most bytes of tensors")
        ->check([](const std::string& given) { return given.empty() ? "is empty" : ""; })
        ->type_name("KEY");
    AddOptionalNumber(app(), "--context", context_,
                      "Positions before the token whose FLOPs are counted", {0, 1 << 24})
        ->default_str("256");
    app().footer(
        app().get_footer() +
        "\n\nFLOPs follow the BAM paper (2408.08274, Table 10): 2 for each weight of a projection "
        "that\n"
        "the token meets, and 2 x positions x heads x head_dim for scores and values together;\n"
        "nothing for norms, selection and element-wise work.");
  }

  absl::Status Check() override {
    if (key_.empty() || tensors_ || IsWeightsAlone()) return absl::OkStatus();
    return absl::InvalidArgumentError("--key needs --tensors for a model");
  }

  absl::Status Run() override {
    if (tensors_ || IsWeightsAlone()) return ListTensors();
    ASSIGN_OR_RETURN(const Inspection inspection, Inspect(path_, context_.value_or(256)));
    std::cout << (json_ ? InspectionJson(inspection).dump(2) + "\n" : InspectionText(inspection));
    return absl::OkStatus();
  }

 private:
  bool IsWeightsAlone() const {
    std::error_code error;
    return std::filesystem::is_regular_file(path_, error) && !absl::EndsWith(path_, ".gguf") &&
           !absl::EndsWith(path_, ".json");
  }

  absl::Status ListTensors() const {
    ASSIGN_OR_RETURN(const StoredWeights weights, OpenWeights(path_, {.key = key_}));
    std::cout << (json_
                      ? TensorListingJson(weights).dump(2, ' ', /*ensure_ascii=*/false, kReplace) +
                            "\n"
                      : TensorListingText(weights));
    return absl::OkStatus();
  }

  std::string path_;
  std::string key_;
  bool tensors_ = false;
  bool json_ = false;
  std::optional<int> context_;
};

}  // namespace

std::unique_ptr<Command> AddInspect(CLI::App& program) {
  return std::make_unique<InspectCommand>(program);
}

}  // namespace peerage::transform
