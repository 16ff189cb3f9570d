#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/command_line/options.h"
#include "base/status_macros.h"
#include "model/transform/commands/command.h"
#include "model/transform/inspect/inspection.h"
#include "model/transform/inspect/inspection_report.h"

namespace peerage::transform {
namespace {

class InspectCommand : public Command {
 public:
  explicit InspectCommand(CLI::App& program)
      : Command(program, "inspect", "Show a model's layers, sizes and costs without its weights",
                {"inspect model.gguf", "inspect DIR --json --context 4096"}) {
    app()
        .add_option("path", path_,
                    "A model directory, a .gguf file, or a config file ending in .json")
        ->required()
        ->check([](const std::string& given) { return given.empty() ? "is empty" : ""; })
        ->type_name("PATH");
    app().add_flag("--json", json_, "Print one JSON object");
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

  absl::Status Run() override {
    ASSIGN_OR_RETURN(const Inspection inspection, Inspect(path_, context_.value_or(256)));
    std::cout << (json_ ? InspectionJson(inspection).dump(2) + "\n" : InspectionText(inspection));
    return absl::OkStatus();
  }

 private:
  std::string path_;
  bool json_ = false;
  std::optional<int> context_;
};

}  // namespace

std::unique_ptr<Command> AddInspect(CLI::App& program) {
  return std::make_unique<InspectCommand>(program);
}

}  // namespace peerage::transform
