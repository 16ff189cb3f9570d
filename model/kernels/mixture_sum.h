// A token's weighted sum over the experts that it picked, one expert after the other:
//
//   sum = fma(gate, expert, sum)
//
// Every value is one fused multiply-add a pick, in the order of the picks, so its bits depend on
// its own column alone.
#pragma once

namespace peerage::kernels {

// sum[i] = fma(gate, x[i], sum[i]) for i < width. NaN and infinity as in arithmetic.
void AddScaled(float gate, const float* x, int width, float* sum);
void AddScaledReference(float gate, const float* x, int width, float* sum);  // same bits

// A constant expert (MoE++, Jin et al. 2024, section 3.2): a1 u + a2 v, (a1, a2) = softmax(scores).
//
//   sum[i] = fma(gate, fma(a1, u[i], a2 v[i]), sum[i])
struct ConstantExpertArgs {
  const float* scores = nullptr;  // [2]: of u and of v
  const float* u = nullptr;       // [width]: what the expert reads
  const float* v = nullptr;       // [width]: its own vector
  int width = 0;
  float gate = 0;
};
void AddConstantExpert(const ConstantExpertArgs& args, float* sum);
// Accumulates in double.
void AddConstantExpertReference(const ConstantExpertArgs& args, double* sum);

}  // namespace peerage::kernels
