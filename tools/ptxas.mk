# What ptxas makes of every CUDA kernel on every target that ships: a report for each file and
# target, made again only when the file or what it includes has changed. Called by check_ptxas.sh
# with OUT, NVCC and PTXAS.
TARGETS := 80 86 89 90 100 120
NAMES := $(patsubst model/kernels/%.cu,%,$(wildcard model/kernels/*_cuda.cu))
WARNINGS := --warn-on-spills --warn-on-local-memory-usage --warn-on-double-precision-use -Werror

.PHONY: all
.SECONDARY:
.DELETE_ON_ERROR:
all: $(foreach target,$(TARGETS),$(NAMES:%=$(OUT)/%.sm_$(target).txt))

$(OUT)/%.ptx: model/kernels/%.cu
	@nice -n 5 $(NVCC) -std=c++20 -O3 -lineinfo -I. -arch=compute_80 -ptx -MD -MF $(OUT)/$*.d -o $@ $<

# A report that holds an error is shown and not kept.
define report
$(OUT)/%.sm_$(1).txt: $(OUT)/%.ptx
	@nice -n 5 $(PTXAS) -O3 -arch=sm_$(1) -v $(WARNINGS) -o /dev/null $$< >$$@ 2>&1 || \
	  { grep '^ptxas \(error\|fatal\)' $$@; false; }
endef
$(foreach target,$(TARGETS),$(eval $(call report,$(target))))

-include $(wildcard $(OUT)/*.d)
