// Kernels on a CUDA device at the shapes of real models, by events: time, the bytes that they must
// move at least, and these bytes' share of the rate at which the device copies, measured in the
// same run. Weights are random and every call finds other ones, so that they come from memory;
// activations are where the kernel before left them, in a cache where they fit. Prints one JSON
// object. It needs a GPU; on tests/cuda/standin times say nothing.
#include <iostream>

#include "CLI/CLI.hpp"
#include "bench/kernels/cuda_bench.h"
#include "nlohmann/json.hpp"

namespace peerage::kernels::cuda {
namespace {

nlohmann::json Run(const BenchShapes& shapes) {
  CudaBench bench(shapes);
  const double copy_rate = bench.CopyRate();
  Measurements all;
  for (const int rows : shapes.rows) {
    MeasureRetrieval(bench, rows, all);
    MeasureAttention(bench, rows, all);
    MeasureLayers(bench, rows, all);
    MeasureHead(bench, rows, all);
  }
  MeasurePrefill(bench, all);
  nlohmann::json result = {{"copy_bytes_per_second", copy_rate}};
  for (const Measurement& m : all) {
    nlohmann::json row = {{"kernel", m.kernel},
                          {"rows", m.rows},
                          {"microseconds", m.microseconds},
                          {"bytes", m.bytes},
                          {"share_of_copy_rate", m.bytes / m.microseconds * 1e6 / copy_rate}};
    if (m.flops != 0) row["flops_per_second"] = m.flops / m.microseconds * 1e6;
    result["kernels"].push_back(row);
  }
  return result;
}

}  // namespace
}  // namespace peerage::kernels::cuda

int main(int argc, char** argv) {
  peerage::kernels::cuda::BenchShapes shapes;
  CLI::App app("Measures CUDA kernels");
  app.add_option("--width", shapes.width)->check(CLI::PositiveNumber);
  app.add_option("--log2-experts", shapes.log2_experts, "Even")->check(CLI::Range(2, 30));
  app.add_option("--heads", shapes.heads)->check(CLI::PositiveNumber);
  app.add_option("--top-k", shapes.top_k)->check(CLI::Range(1, 128));
  app.add_option("--key-dim", shapes.key_dim)->check(CLI::Range(2, 2048));
  app.add_option("--attention-heads", shapes.attention_heads)->check(CLI::PositiveNumber);
  app.add_option("--kv-heads", shapes.kv_heads)->check(CLI::PositiveNumber);
  app.add_option("--head-dim", shapes.head_dim)->check(CLI::Range(1, 256));
  app.add_option("--context", shapes.context)->check(CLI::PositiveNumber);
  app.add_option("--vocabulary", shapes.vocabulary)->check(CLI::PositiveNumber);
  app.add_option("--mixture", shapes.mixture, "Experts of a mixture")->check(CLI::Range(2, 256));
  app.add_option("--rows", shapes.rows)->delimiter(',')->check(CLI::PositiveNumber);
  app.add_option("--repetitions", shapes.repetitions)->check(CLI::PositiveNumber);
  app.add_option("--cold-mib", shapes.cold_mib)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  std::cout << peerage::kernels::cuda::Run(shapes).dump(2) << "\n";
}
