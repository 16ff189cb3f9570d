#include "model/transform/convert/convert.h"

#include <iostream>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/command_line/progress_bar.h"
#include "base/error_text.h"
#include "base/status_macros.h"
#include "model/checkpoint/container/random_access_file.h"
#include "model/checkpoint/layout/stored_values.h"
#include "model/transform/commands/choice_option.h"
#include "model/transform/commands/command.h"
#include "model/transform/commands/writing_progress.h"
#include "model/transform/convert/model_conversion.h"
#include "model/transform/dict_choice_text.h"

namespace peerage::transform {
namespace {

constexpr uint64_t kMaxRenameBytes = uint64_t{1} << 20;

constexpr Choice<std::optional<TensorType>> kConvertedDtypes[] = {
    {"keep", std::nullopt},    {"f32", TensorType::kF32},   {"bf16", TensorType::kBF16},
    {"f16", TensorType::kF16}, {"q8_0", TensorType::kQ8_0}, {"q4_1", TensorType::kQ4_1}};

bool IsGgufName(const std::string& path) { return absl::EndsWith(path, ".gguf"); }

absl::StatusOr<NameMapping> ReadMapping(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, kMaxRenameBytes));
  absl::StatusOr<NameMapping> mapping = NameMapping::Parse(text);
  if (!mapping.ok()) return At(path, mapping.status());
  return mapping;
}

std::string ReportText(const ConvertReport& report, const ConvertOptions& options) {
  std::string text = report.choice.has_value() ? DictChoiceText(*report.choice) : "";
  absl::StrAppend(&text, "wrote ", report.tensors, " tensors (", report.bytes, " bytes) to ",
                  options.out, "\n");
  if (!report.copied_files.empty()) {
    absl::StrAppend(&text, "copied ", absl::StrJoin(report.copied_files, ", "), "\n");
  }
  for (const TiedTensor& tensor : report.tied) {
    absl::StrAppend(&text, "written once: ", Quoted(tensor.name), " is ", Quoted(tensor.written),
                    "\n");
  }
  if (report.doubles > 0) {
    absl::StrAppend(&text, "F64 tensors made ",
                    options.dtype.has_value() ? ChoiceName(kConvertedDtypes, options.dtype) : "f32",
                    ": ", report.doubles, "\n");
  }
  if (!report.misfit.ok()) {
    absl::StrAppend(&text, "config.json does not fit: ", report.misfit.message(), "\n");
  }
  for (const std::string& pattern : report.unused_patterns) {
    absl::StrAppend(&text, "matched nothing: ", pattern, "\n");
  }
  for (const std::string& name : report.unmatched) {
    absl::StrAppend(&text, "matched by no pattern, ", options.drop_unmatched ? "dropped" : "kept",
                    ": ", Quoted(name), "\n");
  }
  return text;
}

class ConvertCommand : public Command {
 public:
  explicit ConvertCommand(CLI::App& program)
      : Command(program, "convert",
                "Write a model in another format or dtype, or its tensors under other names",
                {"convert --from run.pt --key model --out model --rename names.txt",
                 "convert --from model --out model.gguf --dtype q8_0"}) {
    AddPath("--from", options_.from,
            "A model directory, or a file: .safetensors, .pt, .pth, .bin or .gguf")
        ->required();
    app()
        .add_option("--key", options_.key,
                    "Of a PyTorch file: the dict to take, by its keys with dots between; by "
                    "default the one "
                    "with most bytes of tensors")
        ->check([](const std::string& given) { return given.empty() ? "is empty" : ""; })
        ->type_name("KEY");
    AddPath("--out", options_.out,
            "Directory that gets model.safetensors, or a name ending in .gguf")
        ->required();
    app().add_flag(
        "--force", options_.force,
        "Replace what an earlier convert wrote into the --out directory, and nothing else");
    AddChoice(app(), "--dtype", kConvertedDtypes, options_.dtype)
        ->description("Of all tensors; q8_0 and q4_1 are for .gguf");
    CLI::Option* rename =
        AddPath("--rename", rename_,
                "File of lines \"pattern -> replacement\": * stands for a part of a name "
                "between dots, ** for anything; {q,k,v} divides a tensor's rows among names; "
                "\"module.** => **\" takes a prefix away for the lines below; # begins a comment")
            ->type_name("FILE");
    AddPath("--config", options_.config,
            "The new model's config.json, or the directory with it; new names must fit it")
        ->default_str("that of --from");
    AddPath("--tokenizer", options_.tokenizer, "Directory with the tokenizer's files")
        ->type_name("DIR")
        ->default_str("--from");
    app()
        .add_flag("--drop-unmatched", options_.drop_unmatched,
                  "Leave out the tensors that no pattern matches")
        ->needs(rename);
  }

  absl::Status Check() override {
    if (options_.dtype.has_value() && !IsPlain(*options_.dtype) && !IsGgufName(options_.out)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--dtype ", ChoiceName(kConvertedDtypes, options_.dtype),
          " is for an --out ending in .gguf; a directory takes keep, f32, bf16 or f16"));
    }
    if (options_.force && IsGgufName(options_.out)) {
      return absl::InvalidArgumentError("--force is for an --out directory");
    }
    for (const char* option : {"--rename", "--config", "--tokenizer"}) {
      if (app().count(option) == 0 || !HasGguf()) continue;
      return absl::InvalidArgumentError(
          absl::StrCat(option, " is not for .gguf, neither in --from nor in --out"));
    }
    if (!options_.key.empty() && HasGguf()) {
      return absl::InvalidArgumentError("--key is for PyTorch files and an --out directory");
    }
    return absl::OkStatus();
  }

  absl::Status Run() override {
    if (HasGguf()) return RunConversion();
    if (!rename_.empty()) {
      ASSIGN_OR_RETURN(options_.names, ReadMapping(rename_));
    }
    ProgressBar bar;
    options_.progress = ShowWriting(bar);
    ASSIGN_OR_RETURN(const ConvertReport report, Convert(options_));
    bar.Clear();
    std::cout << ReportText(report, options_);
    return absl::OkStatus();
  }

 private:
  bool HasGguf() const { return IsGgufName(options_.from) || IsGgufName(options_.out); }

  // A whole model from or to GGUF, whose names are fixed.
  absl::Status RunConversion() {
    ProgressBar bar;
    ASSIGN_OR_RETURN(const ModelConversionReport report,
                     ConvertModel({.from = options_.from,
                                   .out = options_.out,
                                   .dtype = options_.dtype,
                                   .force = options_.force,
                                   .progress = ShowWriting(bar)}));
    bar.Clear();
    std::cout << "wrote " << report.tensors << " tensors (" << report.bytes << " bytes) to "
              << options_.out << "\n";
    return absl::OkStatus();
  }

  ConvertOptions options_;
  std::string rename_;
};

}  // namespace

std::unique_ptr<Command> AddConvert(CLI::App& program) {
  return std::make_unique<ConvertCommand>(program);
}

}  // namespace peerage::transform
