#include "train/training/train.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "train/training/curve_file.h"
#include "train/training/run_report.h"
#include "train/training/state_file.h"

namespace peerage::train {
namespace {

class Loop {
 public:
  Loop(TrainingRun& run, const TrainHooks& hooks) : run_(run), hooks_(hooks), since_(hooks.now()) {}

  absl::Status Train() {
    ASSIGN_OR_RETURN(curve_, CurveFile::Open(run_.config().run.out, run_.steps_done()));
    in_step_ = false;
    while (!run_.is_done()) {
      if (hooks_.stopped()) return Stop();
      const double learning_rate = run_.learning_rate();
      in_step_ = true;
      ASSIGN_OR_RETURN(const StepFigures figures, run_.Step());
      in_step_ = false;
      Add(figures);
      RETURN_IF_ERROR(AfterStep(learning_rate));
    }
    RETURN_IF_ERROR(Evaluate());
    RETURN_IF_ERROR(curve_->Draw());
    return run_.Finish();
  }

  // What an error came in the middle of.
  std::string Where() const {
    return in_step_ ? absl::StrCat("step ", run_.steps_done() + 1)
                    : absl::StrCat("after step ", run_.steps_done());
  }

 private:
  bool IsDue(int64_t every) const { return every > 0 && run_.steps_done() % every == 0; }

  absl::Status AfterStep(double learning_rate) {
    const RunSection& options = run_.config().run;
    if (IsDue(options.progress_every) || run_.is_done()) RETURN_IF_ERROR(Report(learning_rate));
    if (run_.is_done()) return absl::OkStatus();
    if (IsDue(options.evaluate_every)) RETURN_IF_ERROR(Evaluate());
    if (!IsDue(options.checkpoint_every)) return absl::OkStatus();
    RETURN_IF_ERROR(run_.SaveState());
    return curve_->Draw();
  }

  void Add(const StepFigures& figures) {
    ++steps_;
    sum_.loss += figures.loss;
    sum_.balance_loss += figures.balance_loss;
    sum_.z_loss += figures.z_loss;
    sum_.gradient_norm += figures.gradient_norm;
  }

  // On the steps since the last report.
  absl::Status Report(double learning_rate) {
    const absl::Time now = hooks_.now();
    const absl::Duration took = now - std::exchange(since_, now);
    const auto steps = static_cast<double>(std::exchange(steps_, 0));
    const StepFigures sum = std::exchange(sum_, {});
    const std::vector<ExpertLayer>& layers = run_.model().expert_layers();
    const int64_t total = run_.config().schedule.steps;
    const Progress progress{.step = run_.steps_done(),
                            .steps = total,
                            .learning_rate = learning_rate,
                            .figures = {.loss = sum.loss / steps,
                                        .balance_loss = sum.balance_loss / steps,
                                        .z_loss = sum.z_loss / steps,
                                        .gradient_norm = sum.gradient_norm / steps},
                            .tokens_per_second = steps *
                                                 static_cast<double>(run_.tokens_of_step()) /
                                                 std::max(1e-9, absl::ToDoubleSeconds(took)),
                            .left = took * (static_cast<double>(total - run_.steps_done()) / steps),
                            .experts = FiguresOf(layers, run_.model().TakeUsage())};
    hooks_.say(ProgressLine(progress, layers));
    return curve_->Add(ProgressJson(progress, layers));
  }

  absl::Status Evaluate() {
    if (run_.config().data.held_out.empty()) return absl::OkStatus();
    const absl::Time begin = hooks_.now();
    const absl::StatusOr<std::vector<HeldOutFigures>> figures = run_.Evaluate(hooks_.stopped);
    if (absl::IsCancelled(figures.status())) return Stop();
    RETURN_IF_ERROR(figures.status());
    since_ += hooks_.now() - begin;  // the speed is that of training
    hooks_.say(HeldOutLine(*figures));
    return curve_->Add(HeldOutJson(run_.steps_done(), *figures));
  }

  absl::Status Stop() {
    RETURN_IF_ERROR(run_.SaveState());
    return absl::CancelledError(
        absl::StrCat("stopped after step ", run_.steps_done(), "; --resume goes on from there"));
  }

  TrainingRun& run_;
  const TrainHooks& hooks_;
  std::unique_ptr<CurveFile> curve_;
  absl::Time since_;      // when the steps that are not reported yet began
  int64_t steps_ = 0;     // that are not reported yet
  StepFigures sum_ = {};  // over them
  bool in_step_ = true;   // or before the first one
};

}  // namespace

absl::Status Train(TrainingRun& run, const TrainHooks& hooks) {
  Loop loop(run, hooks);
  const absl::Status status = loop.Train();
  if (status.ok() || absl::IsCancelled(status)) return status;
  const std::string& out = run.config().run.out;
  const absl::StatusOr<std::optional<std::string>> state = NewestState(out);
  const bool any = state.ok() && state->has_value();
  return absl::Status(status.code(),
                      absl::StrCat(loop.Where(), ": ", status.message(),
                                   any ? absl::StrCat("; the last checkpoint is ", **state)
                                       : "; there is no checkpoint yet"));
}

}  // namespace peerage::train
