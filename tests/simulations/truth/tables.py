"""The measured tables, where they are, and tiny ones of our own."""

from pathlib import Path

import pytest

from simulations.fast.compile import can_compile

DATA = Path(__file__).parents[4] / "shared" / "serving-data"

needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the measured tables (../shared/serving-data) are not here"
)
needs_numba = pytest.mark.skipif(
    not can_compile(), reason="numba is not installed: as many requests would take minutes"
)

TINY = {
    "step_times_aic.csv": (
        (
            "model,gpu,tp,precision,kind,prefill_tokens,prefill_seqs,prefill_ctx,"
            "decode_seqs,decode_ctx,latency_ms"
        ),
        "llama-3.1-8b,h100_sxm,1,bfloat16,prefill,1024,2,512,0,0,22.0",
        "llama-3.1-8b,h100_sxm,1,bfloat16,mixed,512,1,512,64,640,16.0",
        "llama-3.1-8b,h100_sxm,1,bfloat16,decode,0,0,0,1,1024,6.8",
        "llama-3.1-8b,h100_sxm,1,bfloat16,decode,0,0,0,512,1024,40.0",
        "a-model-without-profile,h100_sxm,1,bfloat16,decode,0,0,0,1,1024,6.8",
    ),
    "step_times_llmservingsim.csv": (
        "profile,prefill_tokens,prefill_ctx_before,decode_seqs,decode_ctx,latency_ms",
        "rtx4090_llama31_8b_tp1,0,0,1,64,1.0",
        "rtx4090_llama31_8b_tp1,0,0,8,1024,20.0",
    ),
    "e2e_closed_loop.csv": (
        "model,gpu,backend,precision,tp,isl,osl,concurrency,ttft_mean_ms,tpot_mean_ms",
        "meta-llama/Llama-3.1-70B,h100_sxm,vllm,fp8,4.0,100,20,2,30.0,12.0",
        "meta-llama/Llama-3.1-70B,h100_sxm,vllm,fp8,4.0,50000,20,20,1000.0,100.0",
        "meta-llama/Llama-3.1-70B,h200_sxm,trtllm,fp8,4.0,100,20,2,30.0,12.0",
        "meta-llama/Llama-3.1-70B,h100_sxm,vllm,fp4,4.0,100,20,2,30.0,12.0",
    ),
    "vllm_replay_requests.csv": (
        "run,input_toks,output_toks,queued_s,first_token_s,last_token_s",
        "rtxpro6000_llama31_8b_tp1,100,20,0.5,0.6,1.0",
        "rtxpro6000_llama31_8b_tp1,100,20,0.0,0.1,0.5",
        "another_run,100,20,0.0,0.1,0.5",
    ),
    "mlperf_v41_llama2_70b.csv": (
        "submitter,system,scenario,tokens_per_s,samples_per_s",
        "NVIDIA,DGX-H100_H100-SXM-80GBx8_TRT,Server,21000,80",
        "Somebody,DGX-H100_H100-SXM-80GBx8_TRT,Offline,24000,80",
    ),
}
"""Made up, but for the names."""


def tiny_tables(folder: Path) -> Path:
    for name, lines in TINY.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
