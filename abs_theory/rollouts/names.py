"""The columns of a log of answers, whatever it calls them; and those of a comparison, and what a table calls them."""

__all__ = ["HEADINGS", "ROLES"]

# The columns of a log by their role, each with its usual names: without spaces, underscores, hyphens, slashes and dots,
# and without a unit at the end, in lower case.  Words of verl, TRL, OpenAI, vLLM and public traces of serving.
_NAMES = {
    "tokens": "tokens token numtokens ntokens tokencount tokenscount length lengths len responselength responselen "
    "responsetokens responsetokencount numresponsetokens responselengths completionlength completionlen "
    "completiontokens completiontokencount numcompletiontokens completionlengths outputlength outputlen outputtokens "
    "outputtokencount numoutputtokens generatedtokens numgeneratedtokens generatedlength generatedlen generationlength "
    "generationlen generationtokens gentokens genlen answerlength answerlen answertokens rolloutlength rolloutlen "
    "rollouttokens decodetokens decodelength",
    "probability": "probability",
    "weight": "weight weights",
    "count": "count counts",
    "group": "group groupid groupindex promptid promptuid promptindex prompt questionid question problemid problem",
    "seconds": "seconds duration elapsed elapsedtime latency generationtime generationlatency gentime decodetime "
    "decodelatency rollouttime",
    "dataset": "dataset",
    "status": "status finishreason stopreason samplestatus answerstatus rolloutstatus",
    "step": "step steps globalstep trainingstep trainstep trainerglobalstep iteration iter it policyversion",
}
ROLES = {role: tuple(names.split()) for role, names in _NAMES.items()}

HEADINGS = {
    "mode": "mode",
    "slots": "slots",
    "seconds_per_update": "s/update",
    "rollouts_per_second": "rollouts/s",
    "tokens_per_second": "tokens/s",
    "tokens_per_second_per_gpu": "tokens/s/GPU",
    "slots_busy": "busy",
    "staleness_mean": "mean",
    "staleness_p90": "p90",
    "staleness_p99": "p99",
    "staleness_largest": "max",
    "lost_share": "lost",
    "longest_10": "long 10 %",
    "longest_1": "long 1 %",
    "seconds_to_target": "s to target",
    "method": "method",
}
