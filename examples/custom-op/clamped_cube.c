/* y = min(max(x^3, -limit), limit): the kernel of ClampedCube. Inputs are x and limit, f32. */
#include <nnopt/kernel.h>

void clamped_cube(const nnopt_kernel_tensor *inputs, const nnopt_kernel_tensor *outputs) {
  const float *x = inputs[0].data;
  float limit = *(const float *)inputs[1].data, *y = outputs[0].data;
  int64_t count = 1;
  for (int64_t i = 0; i < inputs[0].rank; ++i)
    count *= inputs[0].dims[i];
  for (int64_t i = 0; i < count; ++i) {
    float cube = x[i] * x[i] * x[i];
    y[i] = cube > limit ? limit : cube < -limit ? -limit : cube;
  }
}
